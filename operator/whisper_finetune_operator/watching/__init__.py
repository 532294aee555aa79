"""What comes in: watches, the object cache that they fill, and the queue of runs to look at."""
