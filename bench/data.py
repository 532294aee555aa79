"""Memory and time of reading a data set, by its number of clips.

    .venv/bin/python bench/data.py --clips 1000 10000 100000 --layout tar

Each size runs in a process of its own, on made-up clips of 0.2 s. What grows is the list of clips (names, places and
texts); the sound itself is read clip by clip and forgotten.
"""

import argparse
import io
import json
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import source_roots  # noqa: F401 -- puts the packages on the path

import trainer_configs

CLIPS_PER_SHARD = 5_000
ROW_GROUP = 100
_TEXT = "il numero che avete composto non è attivo, prego attendere in linea"
_LINE = "{:>8} {:>12} {:>15} {:>13} {:>10} {:>13}"


def main() -> None:
    """Print one line per size."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--clips", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    arguments.add_argument("--layout", choices=["tar", "parquet", "files"], default="tar")
    arguments.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.measure:
        print(json.dumps(measure(chosen.measure)))
        return
    print(_LINE.format("clips", "MB at start", "MB at its peak", "bytes a clip", "s to load", "clips/s read"))
    for clips in chosen.clips:
        with tempfile.TemporaryDirectory(prefix="bench-data-") as folder:
            write(Path(folder) / "clips", clips, chosen.layout)
            print_line(clips, run(folder))


def run(folder: str) -> dict[str, float]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--measure", folder]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def print_line(clips: int, found: dict[str, float]) -> None:
    """Print what was measured of one size."""
    grown = 1e6 * (found["peak_mb"] - found["start_mb"]) / clips
    figures = [found["start_mb"], found["peak_mb"], grown, found["load_s"], found["read_per_s"]]
    print(_LINE.format(clips, *[f"{figure:.0f}" for figure in figures]), flush=True)


def write(folder: Path, clips: int, layout: str) -> None:
    """Write made-up clips: ten sounds, again and again."""
    folder.mkdir()
    sounds = [_sound(place) for place in range(10)]
    if layout == "files":
        _write_files(folder, clips, sounds)
        return
    for first in range(0, clips, CLIPS_PER_SHARD):
        places = range(first, min(first + CLIPS_PER_SHARD, clips))
        (_write_tar if layout == "tar" else _write_parquet)(folder / f"train-{first:09d}", places, sounds)


def _sound(place: int) -> bytes:
    noise = np.random.default_rng(place).normal(0, 0.1, 3_200).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, noise, 16_000, format="FLAC")
    return file.getvalue()


def _write_tar(path: Path, places: range, sounds: list[bytes]) -> None:
    with tarfile.open(f"{path}.tar", "w") as archive:
        for place in places:
            for suffix, content in (("flac", sounds[place % 10]), ("txt", f"{_TEXT} {place}".encode())):
                entry = tarfile.TarInfo(f"{place:09d}.{suffix}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))


def _write_parquet(path: Path, places: range, sounds: list[bytes]) -> None:
    import pyarrow as pa  # noqa: PLC0415 -- the other layouts do without it
    from pyarrow import parquet  # noqa: PLC0415

    columns = {
        "audio": [{"bytes": sounds[place % 10], "path": f"{place:09d}.flac"} for place in places],
        "text": [f"{_TEXT} {place}" for place in places],
    }
    parquet.write_table(pa.table(columns), f"{path}.parquet", row_group_size=ROW_GROUP)


def _write_files(folder: Path, clips: int, sounds: list[bytes]) -> None:
    with (folder / "train.jsonl").open("w", encoding="utf-8") as manifest:
        for place in range(clips):
            name = f"{place // 1000:06d}/{place:09d}.flac"
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(sounds[place % 10])
            manifest.write(json.dumps({"audio": name, "text": f"{_TEXT} {place}"}) + "\n")


def measure(folder: Path) -> dict[str, float]:
    """Load the data set of a folder, read every sound once in training's order, and return megabytes and seconds."""
    from whisper_finetune_trainer.data import audio, dataset  # noqa: PLC0415 -- not for the process that writes
    from whisper_finetune_trainer.pytorch import batches  # noqa: PLC0415 -- not for the process that writes

    config = trainer_configs.make_config(trainer_configs.make_spec(), folder, scratch=folder)
    config = config.model_copy(update={"scratch_limit_bytes": 10**12})
    start_mb = _peak_mb()
    started = time.monotonic()
    found = dataset.load_clips(config)
    load_s = time.monotonic() - started
    order = batches.StepOrder([5] * len(found.train), 0, config.schedule)
    started = time.monotonic()
    for batch in order.first_epoch():
        for place in batch.clips:
            audio.read(found.train[place].audio)
    read_per_s = len(found.train) / (time.monotonic() - started)
    return {"start_mb": start_mb, "peak_mb": _peak_mb(), "load_s": load_s, "read_per_s": read_per_s}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 * 1.048576


if __name__ == "__main__":
    main()
