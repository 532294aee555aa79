"""The report of a finished training: one page without scripts, and TensorBoard's events."""
