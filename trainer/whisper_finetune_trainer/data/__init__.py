"""Data in: the clips of a run, from wherever they lie, with their texts, sounds and features."""
