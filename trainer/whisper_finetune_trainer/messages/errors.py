"""What a message says of a fault: its reason, and a little of what others wrote, with nothing that a terminal obeys."""

from typing import Iterable

from whisper_finetune_api import causes
from whisper_finetune_api.reading import printable_text


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


#: A message names what it is about; whoever wants to see more of it has the data.
LONGEST = 40
#: What a library says of a fault: it may repeat some of what it was given.
_LONGEST_WORDS = 160
_CUT = "..."
#: Of a text that is cut, its end is kept too: it tells files of one folder apart.
_END = 22


def quoted(text: object) -> str:
    """Return a text in at most 40 characters, its beginning and its end, with escapes for control characters."""
    shown = escaped(str(text))
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - _END - len(_CUT)]}{_CUT}{shown[-_END:]}"


def listed(names: Iterable[object]) -> str:
    """Return as many names as fit into 40 characters, and how many more there are. Of no names it is `none`."""
    found = [quoted(name) for name in names]
    shown = len(found)
    while shown > 1 and len(_counted(", ".join(found[:shown]), len(found) - shown)) > LONGEST:
        shown -= 1
    return _counted(", ".join(found[:shown]), len(found) - shown) if found else "none"


def words_of(error: BaseException) -> str:
    """Return what a library's error says, in one line of at most 160 characters.

    Where it says nothing, return its class.
    """
    shown = escaped(" ".join(str(error).split())) or type(error).__name__
    return shown if len(shown) <= _LONGEST_WORDS else shown[: _LONGEST_WORDS - len(_CUT)] + _CUT


def escaped(text: str) -> str:
    """Return a text with escapes for what is no visible character: sequences for terminals, line ends, directions."""
    return printable_text(text, lambda character: character.encode("unicode_escape").decode())


def _counted(names: str, more: int) -> str:
    return f"{names} and {more} more" if more else names
