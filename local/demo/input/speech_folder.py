"""Write a language's recordings as a folder that can be a run's data set: clips/*.wav and manifest.jsonl."""

import gzip
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import soundfile

from demo.input import clips, transcripts
from demo.input.transcripts import Transcript

#: Short clips keep the demo short, because training uses windows of their length. Nine of ten recordings are short.
LONGEST_SECONDS = 5.0
#: The length of Whisper's window.
WINDOW_SECONDS = 30.0
SHORTEST_SECONDS = 0.1

NO_RECORDING = "the recording is not in the package"
OVER_WINDOW = f"over {WINDOW_SECONDS:g} s, which Whisper cannot hear at once"
TOO_LONG = "long, and left out because training uses windows of the clips' length"
TOO_SHORT = f"under {SHORTEST_SECONDS:g} s"


@dataclass(frozen=True)
class Voice:
    """Who speaks a language in Asterisk's packages of sounds."""

    language: str
    name: str
    longest_seconds: float = LONGEST_SECONDS

    @property
    def recordings(self) -> Path:
        return Path("usr/share/asterisk/sounds") / self.name

    @property
    def texts(self) -> Path:
        return Path(f"usr/share/doc/asterisk-core-sounds-{self.language}/core-sounds-{self.language}.txt.gz")


ITALIAN = Voice("it", "it_IT_m_Carlo")


@dataclass(frozen=True)
class SpeechSummary:
    """What is in the folder, and how many entries of the list were left out, by reason."""

    clips: int
    seconds: float
    words: int
    dropped: dict[str, int]

    def lines(self) -> list[str]:
        kept = f"{self.clips} clips, {self.seconds:.0f} s, {self.words} words"
        return [kept, *(f"{count} entries dropped: {reason}" for reason, count in sorted(self.dropped.items()))]


def write(packages: Path, folder: Path, voice: Voice = ITALIAN) -> SpeechSummary:
    """Write `folder` from the unpacked Debian packages below `packages`."""
    listed = list(transcripts.read(gzip.decompress((packages / voice.texts).read_bytes())))
    seconds = decode(listed, packages / voice.recordings, folder)
    reasons = {
        entry.recording: reason_to_drop(entry, seconds.get(entry.recording), voice.longest_seconds) for entry in listed
    }
    for recording in seconds:
        if reasons[recording]:
            wav_of(recording, folder).unlink()
    kept = [entry for entry in listed if reasons[entry.recording] is None]
    write_manifest(folder, kept, seconds)
    return SpeechSummary(
        clips=len(kept),
        seconds=sum(seconds[entry.recording] for entry in kept),
        words=sum(len(entry.text.split()) for entry in kept),
        dropped=dict(Counter(reason for reason in reasons.values() if reason)),
    )


def decode(listed: Iterable[Transcript], voice: Path, folder: Path) -> dict[str, float]:
    """Decode the clips that have a text and a recording. Return the length of each in seconds."""
    sought = [entry.recording for entry in listed if not entry.refused]
    recordings = {recording: voice / f"{recording}.g722" for recording in sought}
    there = {recording: file for recording, file in recordings.items() if file.exists()}
    (folder / "clips").mkdir(parents=True)
    clips.decode({file: wav_of(recording, folder) for recording, file in there.items()})
    return {recording: soundfile.info(wav_of(recording, folder)).duration for recording in there}


def wav_of(recording: str, folder: Path) -> Path:
    return folder / "clips" / f"{recording.replace('/', '__')}.wav"


def reason_to_drop(entry: Transcript, seconds: float | None, longest_seconds: float = LONGEST_SECONDS) -> str | None:
    """Return why an entry of the list is not in the folder. `seconds` is None where nothing was decoded."""
    if entry.refused:
        return entry.refused
    if seconds is None:
        return NO_RECORDING
    if seconds > WINDOW_SECONDS:
        return OVER_WINDOW
    if seconds > longest_seconds:
        return TOO_LONG
    return TOO_SHORT if seconds < SHORTEST_SECONDS else None


def write_manifest(folder: Path, entries: Iterable[Transcript], seconds: dict[str, float]) -> None:
    with (folder / "manifest.jsonl").open("w", encoding="utf-8") as manifest:
        for entry in entries:
            clip = wav_of(entry.recording, folder).relative_to(folder).as_posix()
            line = {"audio": clip, "text": entry.text, "duration": round(seconds[entry.recording], 3)}
            manifest.write(json.dumps(line, ensure_ascii=False) + "\n")
