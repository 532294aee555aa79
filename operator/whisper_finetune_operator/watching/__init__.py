"""What comes in: watches, the object cache that they fill, and the workqueue of runs to reconcile."""
