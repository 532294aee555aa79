"""Sounds: where they are read from, what their headers say, and what a model hears of them."""
