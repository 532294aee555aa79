"""The one kind of error that a user of the demo can do something about."""


class DemoError(Exception):
    """Its text says what is wrong, where, and what to do."""


class NoAnswerError(DemoError):
    """The API server does not answer, or answers that it is not able to now."""
