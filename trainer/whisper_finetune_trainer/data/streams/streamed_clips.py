"""Turn the rows of a stream into clips. Each is checked when it is read, and left out, held out or trained on."""

import hashlib
from dataclasses import dataclass, replace
from itertools import islice
from typing import Callable, FrozenSet, Iterator, NamedTuple, Optional, Tuple, Union

from whisper_finetune_trainer.data import held_out, source_files
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.data.audio.audio_sources import InMemory, ParquetCell
from whisper_finetune_trainer.data.clip_reader import ClipReader
from whisper_finetune_trainer.data.clips import Clip, Drop
from whisper_finetune_trainer.data.streams.shard_stream import Position, ShardStream, StreamedRow
from whisper_finetune_trainer.data.text_rules import ChangedBy
from whisper_finetune_trainer.messages.errors import TrainerError

#: How many threads check clips. Decoding releases Python's lock.
_CHECKERS = 4
#: How many rows are in memory, with their sounds, before a block has them.
_ROWS_AT_ONCE = 32
_HASH_BYTES = 8
_HASHES = 2.0 ** (8 * _HASH_BYTES)


class HeldOutClip(NamedTuple):
    """A clip that is not trained on in any epoch. The hash of its identifier decides that."""

    clip: Clip
    #: Whether the best model is chosen by it. Otherwise it is measured for the run's result.
    is_validation: bool = False


Found = Union[Clip, Drop, HeldOutClip]


class Checked(NamedTuple):
    """The clip of a row, or its Drop, and the text rules that changed its text."""

    found: Found
    rewritten_by: Tuple[ChangedBy, ...] = ()
    #: The language that the row names, if there is a column for it.
    language: str = ""


class StreamedClip(NamedTuple):
    """A checked row, and the position after it."""

    checked: Checked
    after: Position


@dataclass(frozen=True)
class ClipChecks:
    """The checks for clips of a stream. `held_out_fraction` is 0 where the held-out clips are a split of their own.

    So is `validation_fraction`, also where nothing is chosen.
    """

    reader: ClipReader
    held_out_fraction: float
    validation_fraction: float = 0.0
    #: Returns the Drop of a clip for other reasons, such as a label that is too long for the model.
    refuse: Callable[[Clip], Optional[Drop]] = lambda _clip: None
    #: Digests of held-out sounds that must not be trained on.
    held_out_sounds: FrozenSet[bytes] = frozenset()

    def of_row(self, streamed: StreamedRow) -> Checked:
        """Check a row to train on. Its sound is decoded once, so that the training gets none that cannot be decoded."""
        found, rewritten_by = self._of_header(streamed)
        if isinstance(found, Clip):
            found = self._copy(found) or self.refuse(found) or _undecodable(found) or found
        return Checked(found, rewritten_by)

    def of_sampled_row(self, streamed: StreamedRow) -> Checked:
        """Check a row of the sample. Only held-out sounds are decoded, because evaluations will decode them."""
        found, rewritten_by = self._of_header(streamed)
        if isinstance(found, HeldOutClip):
            found = _undecodable(found.clip) or found
        return Checked(found, rewritten_by, streamed.split.language_of(streamed.row))

    def read_again(self, clip: Clip) -> Clip:
        """Return a held-out clip with a source from which every evaluation reads its sound again."""
        plain = without_sound(clip)
        if isinstance(plain.audio, ParquetCell) and isinstance(clip.audio, InMemory):
            return replace(plain, audio=self.reader.locator.keep(plain.audio, clip.audio.content))
        return plain

    def _of_header(self, streamed: StreamedRow) -> Tuple[Found, Tuple[ChangedBy, ...]]:
        """Check a row by its text and by its sound's header. Return also the rules that changed its text."""
        if streamed.fault is not None:
            return streamed.fault, ()
        found, outcome = self.reader.read_clip(streamed.split, streamed.row)
        if isinstance(found, Clip) and is_held_out(found.identifier, self.held_out_fraction + self.validation_fraction):
            is_validation = not is_held_out(found.identifier, self.held_out_fraction)
            return HeldOutClip(found, is_validation), outcome.rules
        return found, outcome.rules

    def _copy(self, clip: Clip) -> Optional[Drop]:
        if not self.held_out_sounds or sound_digest(clip) not in self.held_out_sounds:
            return None
        return held_out.copy_dropped(clip)


def check_clips(
    stream: ShardStream, key: str, start: Position, check: Callable[[StreamedRow], Checked]
) -> Iterator[StreamedClip]:
    """Yield the result of `check` for each row of a stream, in the stream's order. `check` runs in threads."""
    rows = stream.rows(key, start)
    checked: Iterator[StreamedClip] = iter(())
    with source_files.reader_pool(_CHECKERS) as checkers:
        for portion in iter(lambda: list(islice(rows, _ROWS_AT_ONCE)), []):
            # This portion is checked while the one before it is used, and while the next one is read.
            begun = checkers.map(check, portion)
            yield from checked
            checked = map(StreamedClip, begun, [streamed.after for streamed in portion])
        yield from checked


def is_held_out(identifier: str, fraction: float) -> bool:
    """Return whether a clip is held out. It depends only on the identifier, so it is the same in every epoch."""
    digest = hashlib.blake2b(identifier.encode(), digest_size=_HASH_BYTES).digest()
    return int.from_bytes(digest, "big") < fraction * _HASHES


def sound_digest(clip: Clip) -> bytes:
    """Return the digest of a clip's sound."""
    return decoding.digest_audio(clip.audio)


def without_sound(clip: Clip) -> Clip:
    """Return a clip with the source of its sound instead of the sound itself."""
    return replace(clip, audio=clip.audio.origin) if isinstance(clip.audio, InMemory) else clip


def _undecodable(clip: Clip) -> Optional[Drop]:
    try:
        decoding.require_decodable(clip.audio)
    except TrainerError as error:
        if error.reason != "DatasetInvalid":
            raise
        return Drop("cannot be decoded", error.message)
    return None
