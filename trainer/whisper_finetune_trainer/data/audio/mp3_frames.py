"""How long an MP3 file is: told by a tag in its first frame, or by a constant bit rate. Pure.

libsndfile takes the file's size and the bit rate of the first frames where there is no tag, and neither measures nor
reads more than that. Tags are those of Xing and LAME. It does not know Fraunhofer's (VBRI).
"""

from functools import lru_cache
from typing import NamedTuple, Optional

#: Bytes that an ID3v2 tag begins with, and its footer.
ID3_BYTES = 10
_FOOTER_FLAG = 0x10
#: A frame's header that matters: eleven bits that are always set, and what follows them.
_HEADER_BYTES = 3
_SYNC = 0xFFE0
#: Kilobits per second by the header's index, of MPEG 1 and of MPEG 2 and 2.5; 0 and 15 are no rates.
_KILOBITS = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
)
#: Samples per second by version (2.5, none, 2, 1) and index.
_SAMPLE_RATES = ((11_025, 12_000, 8_000, 0), (0, 0, 0, 0), (22_050, 24_000, 16_000, 0), (44_100, 48_000, 32_000, 0))
_MPEG_1, _LAYER_3 = 3, 1
#: Where a tag stands in its frame: behind the side information of one or two channels, MPEG 1 or 2, and a checksum.
_TAG_PLACES = (13, 15, 21, 23, 36, 38)
_TAGS = frozenset((b"Xing", b"Info"))
_HAS_FRAMES = 1


class _Frame(NamedTuple):
    size: int
    kilobits: int


def id3_bytes(head: bytes) -> int:
    """Return the size of the ID3v2 tag that a file, or what follows another tag, begins with, 0 without one."""
    if len(head) < ID3_BYTES or head[:3] != b"ID3":
        return 0
    # Seven bits of each byte.
    size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0)))
    return ID3_BYTES * (2 if head[5] & _FOOTER_FLAG else 1) + size


def tells_length(block: bytes) -> bool:
    """Return False where the frames in a block, the file's first ones, change their bit rate and no tag counts them.

    True too where no frame of layer III is found: that is another matter.
    """
    start = _first_frame(block)
    if start is None or _counts_frames(block[start:]):
        return True
    return _is_constant(block, start)


def _first_frame(block: bytes) -> Optional[int]:
    """Return where the first frame is that another one follows."""
    position = block.find(b"\xff")
    while position >= 0:
        frame = _frame_at(block, position)
        if frame is not None and _frame_at(block, position + frame.size) is not None:
            return position
        position = block.find(b"\xff", position + 1)
    return None


def _counts_frames(first: bytes) -> bool:
    for position in _TAG_PLACES:
        if first[position : position + 4] in _TAGS:
            flags, count = (int.from_bytes(first[position + at : position + at + 4], "big") for at in (4, 8))
            # A program that wrote into a pipe leaves it at 0.
            return bool(flags & _HAS_FRAMES) and count > 0
    return False


def _is_constant(block: bytes, position: int) -> bool:
    """Return whether all frames from the one at a position on, as far as each follows another, have one bit rate."""
    first = frame = _frame_at(block, position)
    # Mostly all frames have one size and one header, which is much faster to see than to go through them.
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
    """Return the frame that begins with three bytes. None for what is no frame of layer III with a size."""
    if len(header) < _HEADER_BYTES or int.from_bytes(header[:2], "big") & _SYNC != _SYNC:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    is_mpeg_1 = version == _MPEG_1
    kilobits = _KILOBITS[0 if is_mpeg_1 else 1][header[2] >> 4]
    rate = _SAMPLE_RATES[version][header[2] >> 2 & 3]
    if layer != _LAYER_3 or not kilobits or not rate:
        return None
    return _Frame((144 if is_mpeg_1 else 72) * kilobits * 1000 // rate + (header[2] >> 1 & 1), kilobits)
