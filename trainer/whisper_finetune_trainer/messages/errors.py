"""What a message says about a fault: its reason, and quotations of what others wrote.

TrainerError is the one error that a user or the cluster's admin can mend. Quotations are short, and have no control
characters.
"""

from typing import Iterable

from whisper_finetune_api import causes
from whisper_finetune_api.reading import printable_text


class TrainerError(Exception):
    """Ends the run with a reason of causes.py. The message says what is wrong, where, and what to do.

    Docstrings name the reason only: "Raises DatasetInvalid" means a TrainerError with that reason.
    """

    def __init__(self, reason: causes.Reason, message: str) -> None:
        """Raises ValueError for a reason without an exit code, which would be a mistake in this program."""
        cause = causes.BY_REASON.get(reason)
        if cause is None or cause.exit_code is None:
            raise ValueError(f"{reason!r} is not a reason that a trainer can end with")
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.exit_code: int = cause.exit_code


#: At most so many characters are quoted. Whoever wants to see more has the data.
LONGEST = 40
#: At most so many characters of a library's error, which may repeat parts of the data.
_LONGEST_WORDS = 160
_CUT = "..."
#: So many characters at the end of a cut text are kept too. They tell files of one folder apart.
_END = 22


def quoted(text: object) -> str:
    """Return a text in at most 40 characters, with escapes for control characters. A longer text loses its middle."""
    shown = escaped(str(text))
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - _END - len(_CUT)]}{_CUT}{shown[-_END:]}"


def listed(names: Iterable[object]) -> str:
    """Return as many names as fit into 40 characters, and how many more there are. Without names return `none`."""
    found = [quoted(name) for name in names]
    shown = len(found)
    while shown > 1 and len(_counted(", ".join(found[:shown]), len(found) - shown)) > LONGEST:
        shown -= 1
    return _counted(", ".join(found[:shown]), len(found) - shown) if found else "none"


def words_of(error: BaseException) -> str:
    """Return the text of a library's error in one line of at most 160 characters.

    If it has no text, return the name of its class.
    """
    shown = escaped(" ".join(str(error).split())) or type(error).__name__
    return shown if len(shown) <= _LONGEST_WORDS else shown[: _LONGEST_WORDS - len(_CUT)] + _CUT


def escaped(text: str) -> str:
    """Return a text with escapes for invisible characters: terminal sequences, line ends, changes of direction."""
    return printable_text(text, lambda character: character.encode("unicode_escape").decode())


def _counted(names: str, more: int) -> str:
    return f"{names} and {more} more" if more else names
