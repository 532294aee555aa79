"""The layouts that data sets come in: their files and their rows."""
