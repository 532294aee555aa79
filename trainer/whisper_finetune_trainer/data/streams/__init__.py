"""Data sets that are too large to be listed: they are sampled before training, and read during it."""
