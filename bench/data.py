"""Memory and time of reading a data set, by its number of clips.

    .venv/bin/python bench/data.py --clips 1000 10000 100000 --layout tar
    .venv/bin/python bench/data.py --clips 1000 10000 100000 --layout tar --streamed --seconds 2

Each size runs in a process of its own, on made-up clips. Only the list of clips grows (names, audio sources and texts).
The sound itself is read clip by clip and dropped. A stream has no such list. It has two blocks of clips in memory.
"""

import argparse
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

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
    arguments.add_argument("--streamed", action="store_true", help="as if the shards were too large to be listed")
    arguments.add_argument("--seconds", type=float, default=0.2, help="length of a clip")
    arguments.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.measure:
        print(json.dumps(measure(chosen.measure, streamed=chosen.streamed)))
        return
    print(_LINE.format("clips", "MB at start", "MB at its peak", "bytes a clip", "s to load", "clips/s read"))
    for clips in chosen.clips:
        with tempfile.TemporaryDirectory(prefix="bench-data-") as folder:
            write(Path(folder) / "clips", clips, chosen.layout, chosen.seconds)
            print_line(clips, run(folder, streamed=chosen.streamed))


def run(folder: str, *, streamed: bool) -> dict[str, float]:
    """Measure one size in a process of its own."""
    command = [sys.executable, __file__, "--measure", folder, *(["--streamed"] if streamed else [])]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def print_line(clips: int, found: dict[str, float]) -> None:
    """Print the measurement of one size."""
    grown = 1e6 * (found["peak_mb"] - found["start_mb"]) / clips
    figures = [found["start_mb"], found["peak_mb"], grown, found["load_s"], found["read_per_s"]]
    print(_LINE.format(clips, *[f"{figure:.0f}" for figure in figures]), flush=True)


def write(folder: Path, clips: int, layout: str, seconds: float) -> None:
    """Write made-up clips, which repeat ten sounds."""
    folder.mkdir()
    sounds = [_sound(place, round(16_000 * seconds)) for place in range(10)]
    if layout == "files":
        _write_files(folder, clips, sounds)
        return
    for first in range(0, clips, CLIPS_PER_SHARD):
        places = range(first, min(first + CLIPS_PER_SHARD, clips))
        (_write_tar if layout == "tar" else _write_parquet)(folder / f"train-{first:09d}", places, sounds)


def _sound(place: int, samples: int) -> bytes:
    noise = np.random.default_rng(place).normal(0, 0.1, samples).astype(np.float32)
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
    from pyarrow import parquet  # noqa: PLC0415 -- the same

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


def measure(folder: Path, *, streamed: bool) -> dict[str, float]:
    """Load the data set of a folder, and read every sound once in the training's order.

    Return megabytes and seconds.
    """
    # Imported here, so that the process that writes the clips does not load it.
    import clip_loading  # noqa: PLC0415 -- see above
    from whisper_finetune_trainer.data.audio import decoding  # noqa: PLC0415 -- the same
    from whisper_finetune_trainer.data.layouts import layout  # noqa: PLC0415 -- the same
    from whisper_finetune_trainer.data.run_clips import StepOrder  # noqa: PLC0415 -- the same
    from whisper_finetune_trainer.pytorch import train_steps  # noqa: PLC0415 -- the same
    from whisper_finetune_trainer.pytorch.train_steps import StepSize  # noqa: PLC0415 -- the same

    config = trainer_configs.make_config(trainer_configs.make_spec(), folder, scratch=folder)
    config = config.model_copy(update={"scratch_limit_bytes": 10**12})
    start_mb = _peak_mb()
    started = time.monotonic()
    limits = layout.StreamLimits(listed_bytes=0) if streamed else layout.LIMITS
    found = clip_loading.load_clips(config, limits)
    load_s = time.monotonic() - started
    size = StepSize(config.spec.training.batch_size, config.schedule.micro_batch_size)
    order: StepOrder[Any] = StepOrder(
        found.train, size.batch_size, lambda block: train_steps.divide_into_batches(block, lambda _: 5, size)
    )
    started, read = time.monotonic(), 0
    with order.after(0) as following:
        for step, position in following:
            for clip in (clip for batch in step for clip in batch.clips):
                decoding.read_samples(clip.audio)
                read += 1
            if position.cursor.epoch > 0:
                break
    read_per_s = read / (time.monotonic() - started)
    return {"start_mb": start_mb, "peak_mb": _peak_mb(), "load_s": load_s, "read_per_s": read_per_s}


def _peak_mb() -> float:
    # The peak of getrusage would begin with that of the process that started this one.
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
