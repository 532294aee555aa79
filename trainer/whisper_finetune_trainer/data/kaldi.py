"""Kaldi's data folders: `wav.scp` says where each utterance's sound is, `text` what is said in it."""

import posixpath
from typing import Dict, Iterator, Tuple

from whisper_finetune_trainer.data import source_files
from whisper_finetune_trainer.data.data_folder import DataFolder
from whisper_finetune_trainer.data.manifest import Row
from whisper_finetune_trainer.errors import TrainerError


def rows(folder: DataFolder, path: str) -> Iterator[Row]:
    """Yield the utterances of a `wav.scp`; DatasetInvalid where its texts are missing or it needs commands run."""
    place = posixpath.dirname(path)
    _refuse_segments(folder, posixpath.join(place, "segments"))
    texts = _texts(folder, posixpath.join(place, "text"))
    for number, (utterance, sound) in _lines(folder, path):
        if sound.endswith("|"):
            raise TrainerError(
                "DatasetInvalid",
                f"{path} line {number}: {utterance} is the output of a command ({sound[:60]}), and commands from a "
                "data set are never run; write the sound to files first, such as by `wav-copy`",
            )
        yield _row(number, utterance, sound, texts)


def _row(number: int, utterance: str, sound: str, texts: Dict[str, str]) -> Row:
    if not sound:
        return Row(number, {}, f"has no path for {utterance}")
    if utterance not in texts:
        return Row(number, {}, f"utterance {utterance} has no line in text")
    return Row(number, {"audio": sound, "text": texts[utterance]})


def _texts(folder: DataFolder, path: str) -> Dict[str, str]:
    if not folder.is_file(path):
        raise TrainerError("DatasetInvalid", f"{folder.address} has a wav.scp, but {path} with its texts is missing")
    return dict(line for _, line in _lines(folder, path))


def _refuse_segments(folder: DataFolder, path: str) -> None:
    if folder.is_file(path):
        raise TrainerError(
            "DatasetInvalid",
            f"{folder.address} has {path}: its utterances are parts of longer recordings, which are not supported; "
            "cut them first, such as by `extract-segments`",
        )


def _lines(folder: DataFolder, path: str) -> Iterator[Tuple[int, Tuple[str, str]]]:
    """Yield each line's number, its first word and the rest."""
    with source_files.open_text(folder.file(path)) as text:
        for number, line in enumerate(text, start=1):
            word, _, rest = line.strip().partition(" ")
            if word:
                yield number, (word, rest.strip())
