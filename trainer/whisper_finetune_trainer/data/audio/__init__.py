"""Sounds: where they lie, what their headers say, and what a model hears of them."""
