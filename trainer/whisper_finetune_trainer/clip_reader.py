"""Turn the rows of a manifest into clips; what cannot be used is left out with its reason."""

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, List, Tuple, Union

import soundfile

from whisper_finetune_trainer import audio, manifest
from whisper_finetune_trainer.clips import Clip, Drop

#: Opening files waits for the disk, or for the network behind a volume.
_READERS = 16
_LOG_EVERY = 10_000
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rules:
    """What a row must keep to: the folder its audio lies in, the columns, the longest clip, the text's normalizer."""

    root: Path
    columns: manifest.Columns
    max_clip_seconds: int
    normalize: Callable[[str], str]


def read_clips(path: Path, rows: List[manifest.Row], rules: Rules) -> Tuple[List[Clip], List[Drop]]:
    """Return the clips of a manifest in its order, and those left out; the header of each audio file is read."""

    def read(row: manifest.Row) -> Union[Clip, Drop]:
        return _clip(path, row, rules)

    results: List[Union[Clip, Drop]] = []
    with ThreadPoolExecutor(_READERS) as readers:
        for result in readers.map(read, rows):
            results.append(result)
            if len(results) % _LOG_EVERY == 0:
                logger.info("%s: %d of %d clips looked at", path.name, len(results), len(rows))
    clips = [result for result in results if isinstance(result, Clip)]
    return clips, [result for result in results if isinstance(result, Drop)]


def _clip(path: Path, row: manifest.Row, rules: Rules) -> Union[Clip, Drop]:
    place = f"{path.name} line {row.line}"
    name, text = row.values.get(rules.columns.audio), row.values.get(rules.columns.text)
    if row.broken:
        return Drop("broken line", f"{place} {row.broken}")
    if not isinstance(name, str) or not name.strip():
        return Drop("broken line", f"{place} has no path in column {rules.columns.audio}")
    if row.values.get("offset") not in (None, "", 0, 0.0, "0", "0.0"):
        return Drop("part of a file", f"{place}: parts of longer files (offset) are not supported; cut them first")
    spoken = rules.normalize(text).strip() if isinstance(text, str) else ""
    if not spoken:
        return Drop("empty text", f"{place}: the text of {name} is empty")
    # Both ends are normalized as text, not resolved: links inside of a volume are its owner's business.
    audio_path = os.path.normpath(path.parent / name.strip())
    if os.path.commonpath([audio_path, os.path.normpath(rules.root)]) != os.path.normpath(rules.root):
        return Drop("path outside of the source", f"{place}: {name} lies outside of the data set's folder")
    return _with_length(audio_path, spoken, place, rules)


def _with_length(path: str, text: str, place: str, rules: Rules) -> Union[Clip, Drop]:
    name = os.path.relpath(path, rules.root)
    if not os.path.isfile(path):  # noqa: PTH113 -- called once a clip; Path costs five times as much
        return Drop("missing audio file", f"{place}: audio file {name} does not exist")
    try:
        seconds = audio.seconds(path)
    except (soundfile.LibsndfileError, OSError) as error:
        return Drop("unreadable audio", f"{place}: audio file {name} cannot be read: {_reason(error)}")
    if seconds <= 0:
        return Drop("unreadable audio", f"{place}: audio file {name} holds no sound")
    if seconds > rules.max_clip_seconds:
        return Drop("too long", f"{place}: {name} lasts {seconds:.1f} s; maxClipSeconds is {rules.max_clip_seconds}")
    return Clip(name, path, text, seconds)


def _reason(error: Any) -> str:
    # LibsndfileError's own text repeats the whole path.
    return str(getattr(error, "error_string", error))
