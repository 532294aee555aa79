"""What the model hears in the held-out clips, how many errors it makes, and how training changed that."""
