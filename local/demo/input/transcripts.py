"""Read the list of a language's prompts: what each recording says. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: A second entry that is on the same line as the first one, such as ` vm-then-pound: `.
_NEXT_ENTRY = re.compile(r"\s[a-z]+(-[a-z0-9]+)+: .*")
#: `[toni]` and `(in inglese)` tell the speaker what to do. Nobody says them.
_NOTES = re.compile(r"\[[^\]]*\]|\([^)]*\)")
#: An accented letter that became a question mark. No Italian sentence goes on in lower case after a question mark.
_DAMAGED_LETTER = re.compile(r"\?\s+[a-zà-ù]")
_LETTER = re.compile(r"[^\W\d_]")

NO_SPEECH = "nothing is said in it"
DAMAGED = "letters of its text are damaged"


@dataclass(frozen=True)
class Transcript:
    """What one recording says, or why that is not known."""

    recording: str
    text: str = ""
    refused: str | None = None


def read(content: bytes) -> Iterator[Transcript]:
    """Yield each line `recording: text` of the package's list, which begins with a byte-order mark."""
    for line in content.decode("utf-8-sig").splitlines():
        recording, colon, text = line.partition(":")
        if colon and not line.startswith(";"):
            yield clean(recording.strip(), text)


def clean(recording: str, text: str) -> Transcript:
    """Return the text as it is spoken, or why the clip cannot be used."""
    spoken = " ".join(_NOTES.sub(" ", _NEXT_ENTRY.sub("", text)).split())
    if not _LETTER.search(spoken):
        return Transcript(recording, refused=NO_SPEECH)
    if _DAMAGED_LETTER.search(spoken):
        return Transcript(recording, refused=DAMAGED)
    return Transcript(recording, spoken)
