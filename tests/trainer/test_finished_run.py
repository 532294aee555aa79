"""A failure after a run's model is whole, on a volume: the log warns of it, and the run has succeeded."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny_whisper
from trainer_attempts import Volume


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    tiny_whisper.build(tmp_path / "speech/model")
    tiny_whisper.write_clips(tmp_path / "speech/clips", 12)
    return Volume(tmp_path / "speech", tmp_path)


@pytest.mark.slow
def test_a_latest_json_that_cannot_be_written_does_not_undo_a_whole_model(
    volume: Volume, caplog: pytest.LogCaptureFixture
) -> None:
    (volume.folder / "it/latest.json").mkdir(parents=True)
    ended = volume.attempt(volume.config(steps=2))
    assert (ended.exit_code, ended.result.reason) == (0, None), ended.result.message
    assert volume.names("model")
    assert not any(volume.names("resume"))
    assert "cannot name this run in latest.json: [Errno 21]" in caplog.text
    assert "no new run is needed; let runs read and write latest.json in output.uri" in caplog.text
