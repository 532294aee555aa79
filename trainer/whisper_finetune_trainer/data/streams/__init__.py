"""Data sets that are too large to be listed: looked at before training, and read while it goes on."""
