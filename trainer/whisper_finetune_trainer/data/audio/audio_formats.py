"""What a sound file is by its first bytes, where libsndfile cannot read it. Pure."""

from typing import Callable, Optional, Tuple

from whisper_finetune_trainer.data.audio import wav_chunks
from whisper_finetune_trainer.stores import volumes

#: Bytes that are enough to tell.
HEAD_BYTES = wav_chunks.HEAD_BYTES
CONVERT = "convert it, such as by `ffmpeg -i INPUT -ar 16000 -ac 1 OUTPUT.flac`"

_SOUNDS: Tuple[Tuple[str, Callable[[bytes], bool]], ...] = (
    ("M4A or MP4 (AAC)", lambda head: head[4:8] == b"ftyp"),
    ("AAC", lambda head: head[:2] in {b"\xff\xf1", b"\xff\xf9"}),
    ("WebM or Matroska", lambda head: head[:4] == b"\x1a\x45\xdf\xa3"),
    ("WMA", lambda head: head[:4] == b"\x30\x26\xb2\x75"),
    ("AMR", lambda head: head[:5] == b"#!AMR"),
    ("NIST SPHERE with shorten compression", lambda head: head[:7] == b"NIST_1A"),
)
_OTHERS: Tuple[Tuple[str, Callable[[bytes], bool]], ...] = (
    ("it is empty", lambda head: not head),
    ("it is a page of HTML, not sound", lambda head: head.lstrip()[:9].lower() in {b"<!doctype", b"<html><he"}),
    (
        "it is a pointer of Git LFS, not sound: run `git lfs pull`",
        lambda head: head.startswith(volumes.GIT_LFS),
    ),
)


def advice(head: bytes) -> Optional[str]:
    """Return what a file is and what to do with it, by its first bytes; None for one that may be a broken sound."""
    codec = wav_chunks.codec(head)
    if codec is not None:
        return f"WAV with {codec} is not read here; {CONVERT}"
    sound = next((name for name, matches in _SOUNDS if matches(head)), None)
    if sound is not None:
        return f"{sound} is not read here; {CONVERT}"
    return next((said for said, matches in _OTHERS if matches(head)), None)
