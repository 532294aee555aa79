"""What comes in: watches, the store that they fill, and the queue of runs to look at."""
