"""What an attempt does at its end with files that are still being written."""

from pathlib import Path

import pytest

from whisper_finetune_trainer.entrypoints import attempt
from whisper_finetune_trainer.output import uploads
from whisper_finetune_trainer.output.run_folder import RunFolder
from whisper_finetune_trainer.output.uploads import Uploads
from whisper_finetune_trainer.output.volume_storage import VolumeStorage


class BackgroundStorage(VolumeStorage):
    """A volume whose writes are made in the background, and fail there."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, writer="run")
        self.uploads = Uploads()

    def check(self) -> None:
        self.uploads.check()

    def wait(self) -> None:
        self.uploads.wait()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """Return the folder of a run that has a failed write behind it."""

    def refuse() -> None:
        raise ValueError("the store is away")

    monkeypatch.setattr(uploads, "PAUSES_SECONDS", ())
    storage = BackgroundStorage(tmp_path)
    storage.uploads.add("run/resume/checkpoint-1", refuse)
    return RunFolder(storage, "run", "pvc://claim/runs", "uid", "f" * 64)


def failure_of(folder: RunFolder) -> Exception:
    with pytest.raises(uploads.UploadError) as raised:
        folder.wait_until_written()
    return raised.value


def test_a_failed_write_that_ends_the_attempt_is_not_told_twice(
    folder: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    attempt.finish_writing(folder, failure_of(folder))
    assert not caplog.records


def test_a_failed_write_is_logged_beside_an_ending_of_the_same_words(
    folder: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    attempt.finish_writing(folder, ValueError(str(failure_of(folder))))
    assert [record.getMessage() for record in caplog.records] == ["what was on its way could not be written"]
