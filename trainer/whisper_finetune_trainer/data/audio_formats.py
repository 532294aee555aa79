"""What a sound file is by its first bytes, where libsndfile cannot read it. Pure."""

from typing import Callable, Optional, Tuple

#: Bytes that are enough to tell.
HEAD_BYTES = 16

_FORMATS: Tuple[Tuple[str, Callable[[bytes], bool]], ...] = (
    ("M4A or MP4 (AAC)", lambda head: head[4:8] == b"ftyp"),
    ("AAC", lambda head: head[:2] in {b"\xff\xf1", b"\xff\xf9"}),
    ("WebM or Matroska", lambda head: head[:4] == b"\x1a\x45\xdf\xa3"),
    ("WMA", lambda head: head[:4] == b"\x30\x26\xb2\x75"),
    ("AMR", lambda head: head[:5] == b"#!AMR"),
    ("NIST SPHERE with shorten compression", lambda head: head[:7] == b"NIST_1A"),
    ("a page of HTML, not sound", lambda head: head.lstrip()[:9].lower() in {b"<!doctype", b"<html><he"}),
    ("a pointer of Git LFS, not sound: run `git lfs pull`", lambda head: head.startswith(b"version https://")),
)


def foreign(head: bytes) -> Optional[str]:
    """Return the name of a format that is known and not read here, by a file's first bytes; else None."""
    return next((name for name, matches in _FORMATS if matches(head)), None)


def advice(name: str) -> str:
    """Return what to do with a file of a foreign format."""
    if "not sound" in name:
        return f"it is {name}"
    return f"{name} is not read here; convert it, such as by `ffmpeg -i INPUT -ar 16000 -ac 1 OUTPUT.flac`"
