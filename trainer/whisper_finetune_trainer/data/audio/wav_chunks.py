"""What the chunks of a WAV file say: its codec, and whether it ends where its header says. Pure."""

import struct
from typing import Dict, Iterator, NamedTuple, Optional, Tuple

#: Bytes from a file's start in which the chunks before its sound are looked for.
HEAD_BYTES = 4096
#: Bytes of a chunk's name and size.
CHUNK_HEADER_BYTES = 8
_RIFF_BYTES = 12
_TAG_BYTES = 2
#: Codecs that libsndfile does not read, by the number that stands in the file.
_CODECS: Dict[int, str] = {
    0x0020: "Yamaha's ADPCM",
    0x0022: "TrueSpeech",
    0x0042: "G.723.1",
    0x0045: "G.726",
    0x0064: "G.726",
    0x0065: "G.722",
    0x0083: "G.729",
    0x00FF: "AAC",
    0x0161: "WMA",
    0x0162: "WMA",
    0x028F: "G.722",
    0x2000: "AC-3",
    0x674F: "Vorbis",
    0x704F: "Opus",
    0xF1AC: "FLAC",
}
#: Those that it reads: with one of them a file that cannot be read is broken.
_READ = frozenset((0x0001, 0x0002, 0x0003, 0x0006, 0x0007, 0x0011, 0x0031, 0x0055, 0xFFFE))


class Data(NamedTuple):
    """Where the samples begin, and how many bytes they have by the header."""

    start: int
    size: int


def find_unread_codec(head: bytes) -> Optional[str]:
    """Return the name of the codec of a WAV file that is not read here. None for others, and for what is no WAV."""
    found = next((content for name, _, content in _chunks(head) if name == b"fmt "), b"")
    if len(found) < _TAG_BYTES:
        return None
    tag = int.from_bytes(found[:_TAG_BYTES], "little")
    return None if tag in _READ else _CODECS.get(tag, f"codec {tag:#06x}")


def find_samples(head: bytes) -> Optional[Data]:
    """Return where the samples of a WAV file are, None where that is not in its head, or is no plain WAV file's."""
    return next((position for name, position, _ in _chunks(head) if name == b"data"), None)


def is_chunk(header: bytes) -> bool:
    """Return whether bytes are the header of a further chunk: its name is four letters."""
    return len(header) >= CHUNK_HEADER_BYTES and header[:4].isascii() and header[:4].decode("ascii").isprintable()


def _chunks(head: bytes) -> Iterator[Tuple[bytes, Data, bytes]]:
    """Yield the name, the position and the content, as far as it is there, of each chunk up to the samples."""
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return
    position = _RIFF_BYTES
    while position + CHUNK_HEADER_BYTES <= len(head):
        name, size = struct.unpack_from("<4sI", head, position)
        start = position + CHUNK_HEADER_BYTES
        yield name, Data(start, size), head[start : start + size]
        if name == b"data":
            return
        # Chunks begin at even bytes.
        position = start + size + size % 2
