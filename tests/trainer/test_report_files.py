"""The two files of a report: an error in one does not cost the other."""

from __future__ import annotations

from pathlib import Path

import pytest

import finished_trainings
from trainer_configs import FOLDER, UID
from whisper_finetune_trainer.output.run_folder import RunFolder
from whisper_finetune_trainer.output.volume_storage import VolumeStorage
from whisper_finetune_trainer.report import report_files

PAGE = "report.html"
EVENTS = "tensorboard/events.out.tfevents.run"


@pytest.mark.parametrize(
    ("in_the_way", "left", "named"), [(PAGE, EVENTS, None), (EVENTS, PAGE, PAGE)], ids=["no page", "no events"]
)
def test_one_is_written_where_the_other_cannot_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, in_the_way: str, left: str, named: str | None
) -> None:
    folder = RunFolder(VolumeStorage(tmp_path, "demo"), FOLDER, "pvc://speech/runs", UID, "f" * 64)
    folder.prepare()
    (tmp_path / FOLDER / in_the_way / "a folder").mkdir(parents=True)
    result = report_files.write_report(folder, finished_trainings.make(clips=12))
    assert result.report == named
    assert (tmp_path / FOLDER / left).stat().st_size > 1000
    assert "cannot be written; the run goes on without it" in caplog.text
