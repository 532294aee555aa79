"""The one kind of error that a user of the demo can do something about."""


class DemoError(Exception):
    """What is wrong, where, and what to do."""
