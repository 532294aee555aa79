"""Decodes G.722 recordings to 16 kHz mono WAV files with Debian's ffmpeg."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from cluster.programs.debian_packages import install_missing
from demo.faults import DemoError

SAMPLING_RATE = 16_000
#: How many files one ffmpeg process decodes. To start one takes longer than to decode a clip.
FILES_PER_PROCESS = 30


def require_ffmpeg() -> None:
    """Install ffmpeg where it is missing. Raises ClusterError where that needs more rights."""
    install_missing({"ffmpeg": "ffmpeg"})


def decode(recordings: Mapping[Path, Path]) -> None:
    """Decode each recording, which is a key, to the WAV file that is its value."""
    pairs = list(recordings.items())
    with tqdm(total=len(pairs), desc="decoding", unit="clip", disable=None) as bar:
        for place in range(0, len(pairs), FILES_PER_PROCESS):
            batch = dict(pairs[place : place + FILES_PER_PROCESS])
            decode_batch(batch)
            bar.update(len(batch))


def decode_batch(recordings: Mapping[Path, Path]) -> None:
    """Run one ffmpeg for all of them. Bit-exact output names no version, so two runs write the same bytes."""
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y"]
    for recording in recordings:
        command += ["-f", "g722", "-i", str(recording)]
    for place, wav in enumerate(recordings.values()):
        layout = ["-ac", "1", "-ar", str(SAMPLING_RATE), "-c:a", "pcm_s16le", "-bitexact"]
        command += ["-map", f"{place}:a", *layout, str(wav)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    if ran.returncode:
        raise DemoError(f"ffmpeg cannot decode a recording: {ran.stderr.strip()}")
