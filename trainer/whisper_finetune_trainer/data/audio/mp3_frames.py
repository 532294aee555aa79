"""Whether an MP3 file tells its length: by a tag in its first frame, or by a constant bit rate. Pure.

Without a tag, libsndfile computes the length from the file's size and the bit rate of the first frames, and reads no
more than that. It knows the tags of Xing and LAME, but not Fraunhofer's (VBRI).
"""

from functools import lru_cache
from typing import NamedTuple, Optional

#: The bytes of an ID3v2 tag's header. Its footer has as many.
ID3_BYTES = 10
_FOOTER_FLAG = 0x10
#: The bytes of a frame's header that matter: eleven bits that are always set, and the fields after them.
_HEADER_BYTES = 3
_SYNC = 0xFFE0
#: Kilobits per second by the header's index: for MPEG 1, and for MPEG 2 and 2.5. The indexes 0 and 15 are no rates.
_KILOBITS = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
)
#: Samples per second by version (2.5, none, 2, 1) and index.
_SAMPLE_RATES = ((11_025, 12_000, 8_000, 0), (0, 0, 0, 0), (22_050, 24_000, 16_000, 0), (44_100, 48_000, 32_000, 0))
_MPEG_1, _LAYER_3 = 3, 1
#: Where a tag is in its frame: after the side information, which differs by channels and MPEG version, and a checksum.
_TAG_OFFSETS = (13, 15, 21, 23, 36, 38)
_TAGS = frozenset((b"Xing", b"Info"))
_HAS_FRAMES = 1


class _Frame(NamedTuple):
    size: int
    kilobits: int


def id3_bytes(head: bytes) -> int:
    """Return the size in bytes of the ID3v2 tag that `head` begins with, or 0 without one."""
    if len(head) < ID3_BYTES or head[:3] != b"ID3":
        return 0
    # The size has seven bits in each byte.
    size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0)))
    return ID3_BYTES * (2 if head[5] & _FOOTER_FLAG else 1) + size


def tells_length(block: bytes) -> bool:
    """Return False if the first frames of a file change their bit rate, and no tag counts the frames.

    `block` is the start of the file after its ID3v2 tags. Return True also if it has no frame of layer III.
    """
    start = _first_frame(block)
    if start is None or _counts_frames(block[start:]):
        return True
    return _is_constant(block, start)


def _first_frame(block: bytes) -> Optional[int]:
    """Return the position of the first frame that another frame follows, or None."""
    position = block.find(b"\xff")
    while position >= 0:
        frame = _frame_at(block, position)
        if frame is not None and _frame_at(block, position + frame.size) is not None:
            return position
        position = block.find(b"\xff", position + 1)
    return None


def _counts_frames(first: bytes) -> bool:
    for position in _TAG_OFFSETS:
        if first[position : position + 4] in _TAGS:
            flags, count = (int.from_bytes(first[position + at : position + at + 4], "big") for at in (4, 8))
            # A program that writes into a pipe leaves the count at 0.
            return bool(flags & _HAS_FRAMES) and count > 0
    return False


def _is_constant(block: bytes, position: int) -> bool:
    """Return whether all consecutive frames from a position on have the same bit rate."""
    first = frame = _frame_at(block, position)
    # Mostly all frames have the same size and header. That is much faster to check than to go through the frames.
    if first is not None and all(len(set(block[position + at :: first.size])) == 1 for at in range(_HEADER_BYTES)):
        return True
    while frame is not None and first is not None:
        if frame.kilobits != first.kilobits:
            return False
        position += frame.size
        frame = _frame_at(block, position)
    return True


def _frame_at(block: bytes, position: int) -> Optional[_Frame]:
    return _frame(block[position : position + _HEADER_BYTES])


@lru_cache(maxsize=1024)
def _frame(header: bytes) -> Optional[_Frame]:
    """Return the frame whose header has these three bytes, or None if it is no frame of layer III with a size."""
    if len(header) < _HEADER_BYTES or int.from_bytes(header[:2], "big") & _SYNC != _SYNC:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    is_mpeg_1 = version == _MPEG_1
    kilobits = _KILOBITS[0 if is_mpeg_1 else 1][header[2] >> 4]
    rate = _SAMPLE_RATES[version][header[2] >> 2 & 3]
    if layer != _LAYER_3 or not kilobits or not rate:
        return None
    return _Frame((144 if is_mpeg_1 else 72) * kilobits * 1000 // rate + (header[2] >> 1 & 1), kilobits)
