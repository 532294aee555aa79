"""The one error that is the user's or the cluster's to mend: it names its cause and so the pod's exit code."""

from whisper_finetune_api import causes


class TrainerError(Exception):
    """Ends the run with a reason of causes.py. The message says what is wrong, where, and what to do."""

    def __init__(self, reason: causes.Reason, message: str) -> None:
        """Raise ValueError for a reason that has no exit code: that is a mistake in this program."""
        cause = causes.BY_REASON.get(reason)
        if cause is None or cause.exit_code is None:
            raise ValueError(f"{reason!r} is not a reason that a trainer can end with")
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.exit_code: int = cause.exit_code
