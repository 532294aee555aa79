"""One small data set in every layout that is read: ten tones of different lengths, in Italian."""

from __future__ import annotations

import functools
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile
from pyarrow import parquet

from tones import SAMPLE_RATE, TEXTS, tone

COUNT = 10
#: Text of a clip by its name; the lengths differ too.
SPOKEN = {f"clip-{place:02d}": f"{TEXTS[place % len(TEXTS)]} {place}" for place in range(COUNT)}


def seconds(name: str) -> float:
    """Return the length of a clip."""
    return 0.5 + 0.05 * list(SPOKEN).index(name)


def samples(name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the samples of a clip."""
    return tone(list(SPOKEN).index(name), seconds(name))


@functools.lru_cache(maxsize=100)  # functools.cache is of Python 3.9
def encoded(name: str, suffix: str = "flac") -> bytes:
    """Return a clip as a file of a format."""
    file = io.BytesIO()
    soundfile.write(file, samples(name), SAMPLE_RATE, format=suffix.upper())
    return file.getvalue()


def write_sounds(folder: Path, suffix: str = "flac") -> None:
    """Write NAME.SUFFIX for each clip."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SPOKEN:
        (folder / f"{name}.{suffix}").write_bytes(encoded(name, suffix))


def _lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def audiofolder_csv(folder: Path) -> None:
    write_sounds(folder / "train")
    _lines(folder / "train/metadata.csv", ["file_name,text", *[f"{name}.flac,{SPOKEN[name]}" for name in SPOKEN]])


def audiofolder_jsonl(folder: Path) -> None:
    write_sounds(folder / "sounds")
    rows = [{"file_name": f"sounds/{name}.flac", "transcription": text} for name, text in SPOKEN.items()]
    _lines(folder / "metadata.jsonl", [json.dumps(row) for row in rows])


def common_voice(folder: Path) -> None:
    write_sounds(folder / "clips", "mp3")
    header = "client_id\tpath\tsentence_id\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tlocale\tsegment"
    rows = [f"0a1b\t{name}.mp3\tff\t{text}\t2\t0\t\t\t\tit\t" for name, text in SPOKEN.items()]
    _lines(folder / "train.tsv", [header, *rows])
    _lines(folder / "validated.tsv", [header, *rows])


def nemo(folder: Path) -> None:
    write_sounds(folder / "wavs", "wav")
    rows = [
        {"audio_filepath": f"wavs/{name}.wav", "duration": seconds(name), "offset": 0, "text": text}
        for name, text in SPOKEN.items()
    ]
    _lines(folder / "train_manifest.json", [json.dumps(row) for row in rows])


def nemo_tarred(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for shard in range(2):
        names = list(SPOKEN)[shard::2]
        write_tar(folder / f"audio_{shard}.tar", [(f"{name}.wav", encoded(name, "wav")) for name in names])
        rows += [
            # Where it was cut out of, which is no place in the shard.
            {
                "audio_filepath": f"{name}.wav",
                "offset": 12.5,
                "duration": seconds(name),
                "text": SPOKEN[name],
                "shard_id": shard,
            }
            for name in names
        ]
    _lines(folder / "tarred_audio_manifest.json", [json.dumps(row) for row in rows])


def kaldi(folder: Path) -> None:
    write_sounds(folder / "wav", "wav")
    _lines(folder / "data/train/wav.scp", [f"utt-{name} wav/{name}.wav" for name in SPOKEN])
    _lines(folder / "data/train/text", [f"utt-{name} {text}" for name, text in SPOKEN.items()])


def write_recordings(folder: Path, suffix: str = "flac") -> dict[str, tuple[str, float, float]]:
    """Write two recordings, of every second clip with a pause before each; return a clip's file, start and end."""
    folder.mkdir(parents=True, exist_ok=True)
    places = {}
    for number in range(2):
        parts: list[np.ndarray[Any, Any]] = []
        for name in list(SPOKEN)[number::2]:
            parts.append(np.zeros(SAMPLE_RATE // 4 if number else 0, np.float32))
            start = sum(map(len, parts)) / SAMPLE_RATE
            parts.append(samples(name))
            places[name] = (f"recording-{number}.{suffix}", start, sum(map(len, parts)) / SAMPLE_RATE)
        soundfile.write(folder / f"recording-{number}.{suffix}", np.concatenate(parts), SAMPLE_RATE)
    return places


def nemo_segments(folder: Path) -> None:
    places = write_recordings(folder / "talks")
    rows = [
        {"audio_filepath": f"talks/{file}", "duration": round(end - start, 4), "offset": start, "text": SPOKEN[name]}
        for name, (file, start, end) in places.items()
    ]
    _lines(folder / "train_manifest.json", [json.dumps(row) for row in rows])


def kaldi_segments(folder: Path) -> None:
    """Tabs and blanks part the columns; the last segment of each recording goes to its end."""
    places = write_recordings(folder / "talks")
    last = list(SPOKEN)[-2:]
    _lines(folder / "data/train/wav.scp", [f"rec-{number}\ttalks/recording-{number}.flac" for number in range(2)])
    segments = [
        f"utt-{name} rec-{file[10]} {start:.3f}\t{-1 if name in last else f'{end:.3f}'}"
        for name, (file, start, end) in places.items()
    ]
    _lines(folder / "data/train/segments", segments)
    _lines(folder / "data/train/text", [f"utt-{name} {text}" for name, text in SPOKEN.items()])


def webdataset(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(2):
        names = list(SPOKEN)[shard::2]
        members = [
            (f"{name}.{suffix}", content)
            for name in names
            for suffix, content in (("flac", encoded(name)), ("txt", SPOKEN[name].encode()), ("json", b'{"age": 7}'))
        ]
        write_tar(folder / f"train-{shard:06d}.tar", members)


def webdataset_json(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    members = [
        member
        for name, text in SPOKEN.items()
        for member in ((f"a/{name}.json", json.dumps({"text": text}).encode()), (f"a/{name}.mp3", encoded(name, "mp3")))
    ]
    write_tar(folder / "000.tar", members)


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> None:
    """Write a plain tar file."""
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def parquet_of_the_hub(folder: Path) -> None:
    """Two shards with row groups of three, and the columns that `datasets` writes."""
    for shard in range(2):
        names = list(SPOKEN)[shard::2]
        cells = [{"bytes": encoded(name), "path": f"{name}.flac"} for name in names]
        write_parquet(
            folder / f"data/train-{shard:05d}-of-00002.parquet",
            {"audio": cells, "sentence": [SPOKEN[name] for name in names], "speaker": [shard] * len(names)},
        )


def parquet_of_bytes(folder: Path) -> None:
    write_parquet(
        folder / "train.parquet", {"audio": [encoded(name) for name in SPOKEN], "text": list(SPOKEN.values())}
    )


def parquet_of_paths(folder: Path) -> None:
    write_sounds(folder / "sounds")
    write_parquet(
        folder / "train.parquet",
        {"path": [f"sounds/{name}.flac" for name in SPOKEN], "text": list(SPOKEN.values())},
    )


def write_parquet(path: Path, columns: dict[str, list[Any]], row_group_size: int = 3) -> None:
    """Write a Parquet file; a struct of bytes and path is made of dictionaries."""
    path.parent.mkdir(parents=True, exist_ok=True)
    audio = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    arrays = {
        name: pa.array(values, type=audio if isinstance(values[0], dict) else None) for name, values in columns.items()
    }
    parquet.write_table(pa.table(arrays), path, row_group_size=row_group_size)


def openslr(folder: Path) -> None:
    for place, gender in enumerate(("female", "male")):
        names = list(SPOKEN)[place::2]
        (folder / gender).mkdir(parents=True)
        for name in names:
            (folder / gender / f"{name}.wav").write_bytes(encoded(name, "wav"))
        _lines(folder / gender / f"line_index_{gender}.tsv", [f"{name}\t{SPOKEN[name]}" for name in names])


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "audiofolder, CSV": audiofolder_csv,
    "audiofolder, JSON lines": audiofolder_jsonl,
    "Common Voice": common_voice,
    "NeMo": nemo,
    "NeMo, tarred": nemo_tarred,
    "NeMo, segments": nemo_segments,
    "Kaldi": kaldi,
    "Kaldi, segments": kaldi_segments,
    "WebDataset": webdataset,
    "WebDataset, JSON": webdataset_json,
    "OpenSLR": openslr,
    "Parquet of the Hub": parquet_of_the_hub,
    "Parquet of bytes": parquet_of_bytes,
    "Parquet of paths": parquet_of_paths,
}
