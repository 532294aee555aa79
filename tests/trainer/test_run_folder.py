"""What is in a run's folder, what counts as whole, and what happens where it cannot be written."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import small_disks
from trainer_configs import UID, make_config, make_spec
from whisper_finetune_api.v1alpha1.scores import WordErrorRate
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.output import folder_manifest, run_identity, run_output, storage
from whisper_finetune_trainer.output.run_folder import CHECKPOINTS, RESUME, RunFolder
from whisper_finetune_trainer.output.volume_storage import VolumeStorage

FIELDS = "f" * 64
FIGURES = WordErrorRate(score="7.25", wer="9.50", normalized_wer="7.25")


def make_folder(root: Path, uid: str = UID, fields: str = FIELDS) -> RunFolder:
    """Return the prepared folder of run `demo` below `root`."""
    folder = RunFolder(VolumeStorage(root, "demo"), "demo-0badcafe", "pvc://speech/runs", uid, fields)
    folder.prepare()
    return folder


def write_state(folder: RunFolder, step: int, kind: str = RESUME, content: bytes = b"weights") -> str:
    """Write a checkpoint of one file and return its path."""
    return folder.write_folder(
        f"{kind}/checkpoint-{step}", step, lambda path: (path / "state.bin").write_bytes(content) and None
    ).path


def steps(folder: RunFolder, kind: str = RESUME) -> list[int]:
    return [stored.manifest.step for stored in folder.checkpoints(kind)]


def test_a_folder_is_whole_once_its_manifest_is_there(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    stored = folder.write_folder(
        "resume/checkpoint-7", 7, lambda path: (path / "a.bin").write_bytes(b"abc") and None, FIGURES
    )
    content = (tmp_path / "demo-0badcafe/resume/checkpoint-7/manifest.json").read_bytes()
    assert json.loads(content) == {
        "format": 1,
        "uid": UID,
        "trainingFields": FIELDS,
        "step": 7,
        "score": "7.25",
        "wer": "9.50",
        "files": {
            "a.bin": {"bytes": 3, "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        },
    }
    assert stored == folder.stored("resume/checkpoint-7")
    assert stored.sha256 == folder_manifest.sha256(content)


def test_a_folder_that_is_being_filled_does_not_exist(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    seen: list[Any] = []

    def fill(path: Path) -> None:
        (path / "a.bin").write_bytes(b"abc")
        seen.append(folder.stored("model"))

    folder.write_folder("model", 1, fill, before_whole=lambda _stored: seen.append(folder.stored("model")))
    assert seen == [None, None]
    assert folder.stored("model")


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / "manifest.json").unlink(),
        lambda path: (path / "manifest.json").write_text("{"),
        lambda path: (path / "state.bin").unlink(),
        lambda path: (path / "state.bin").write_bytes(b"shorter"[:3]),
    ],
    ids=["no manifest", "half a manifest", "file missing", "file cut"],
)
def test_what_is_not_whole_is_not_found_and_goes_when_the_next_attempt_starts(tmp_path: Path, damage: Any) -> None:
    folder = make_folder(tmp_path)
    write_state(folder, 10)
    path = tmp_path / "demo-0badcafe" / write_state(folder, 20)
    damage(path)
    assert steps(folder) == [10]
    make_folder(tmp_path)
    assert not path.exists()


def test_a_state_with_changed_content_is_not_resumed_from(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    write_state(folder, 10)
    (tmp_path / "demo-0badcafe" / write_state(folder, 20) / "state.bin").write_bytes(b"Weights")
    with folder.newest_to_resume() as newest:
        assert newest is not None
        assert newest.stored.path == "resume/checkpoint-10"
        assert (newest.local / "state.bin").read_bytes() == b"weights"


@pytest.mark.parametrize("other", [{"uid": "another"}, {"fields": "0" * 64}])
def test_another_runs_folder_is_neither_resumed_from_nor_removed(tmp_path: Path, other: dict[str, str]) -> None:
    theirs = make_folder(tmp_path, **other)
    write_state(theirs, 10)
    mine = make_folder(tmp_path)
    with mine.newest_to_resume() as newest:
        assert newest is None
    assert steps(theirs) == [10]


MANIFEST = f"demo-0badcafe/{RESUME}/checkpoint-7/manifest.json"


def change_manifest(root: Path, **fields: Any) -> None:
    written = json.loads((root / MANIFEST).read_bytes())
    changed = {name: value for name, value in {**written, **fields}.items() if value is not None}
    (root / MANIFEST).write_text(json.dumps(changed))


@pytest.mark.parametrize("fields", [{"format": None}, {"writtenBy": "a newer trainer"}], ids=["first", "newer"])
def test_a_folder_of_another_version_is_gone_on_from(tmp_path: Path, fields: dict[str, Any]) -> None:
    write_state(make_folder(tmp_path), 7)
    change_manifest(tmp_path, **fields)
    assert steps(make_folder(tmp_path)) == [7]


def test_a_folder_of_a_later_format_is_neither_read_nor_removed(tmp_path: Path) -> None:
    write_state(make_folder(tmp_path), 7)
    change_manifest(tmp_path, format=2, files="packed")
    with pytest.raises(TrainerError, match="written by a newer trainer") as raised:
        steps(make_folder(tmp_path))
    assert (raised.value.reason, raised.value.exit_code) == ("VersionMismatch", 76)
    assert (tmp_path / MANIFEST).exists()


def test_a_manifest_is_not_taken_without_a_file_that_it_names(tmp_path: Path) -> None:
    write_state(make_folder(tmp_path), 7)
    change_manifest(tmp_path, files={"state.bin": {"bytes": 7, "sha256": "changed"}})
    assert steps(make_folder(tmp_path)) == []


def test_manifest_entries_stay_below_their_folder() -> None:
    entry = {"bytes": 1, "sha256": "0" * 64}
    for name in ("../other", "/etc/passwd", "a/../../b"):
        content = json.dumps({"uid": UID, "trainingFields": FIELDS, "step": 1, "files": {name: entry}})
        assert folder_manifest.parse_manifest(content.encode()) is None


def test_pruning_keeps_the_newest_and_what_is_asked_for(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    for step in (5, 100, 20, 30):
        write_state(folder, step, CHECKPOINTS)
    folder.prune(CHECKPOINTS, keep=2, also=frozenset({5}))
    assert steps(folder, CHECKPOINTS) == [5, 30, 100]
    folder.prune(CHECKPOINTS, keep=0)
    assert steps(folder, CHECKPOINTS) == []


def test_small_files_are_there_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    assert folder.read_json("baseline.json") is None
    folder.write_json("baseline.json", {"città": 1})
    assert folder.read_json("baseline.json") == {"città": 1}
    (tmp_path / "demo-0badcafe/baseline.json").write_text("[1")
    assert folder.read_json("baseline.json") is None
    assert [path.name for path in (tmp_path / "demo-0badcafe").iterdir()] == ["baseline.json"]


def test_addresses_are_those_of_the_user(tmp_path: Path) -> None:
    assert make_folder(tmp_path).address("model") == "pvc://speech/runs/demo-0badcafe/model"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of 4 MiB."""
    with small_disks.mounted(tmp_path, mebibytes=4) as folder:
        yield folder


def test_a_full_disk_names_the_newest_whole_checkpoint(small_disk: Path) -> None:
    folder = make_folder(small_disk)
    write_state(folder, 10, content=bytes(1 << 20))
    with pytest.raises(TrainerError) as raised:
        write_state(folder, 20, content=bytes(4 << 20))
    assert raised.value.reason == "OutputNotWritable"
    assert raised.value.exit_code == 73
    assert raised.value.message == (
        "cannot write pvc://speech/runs/demo-0badcafe/resume/checkpoint-20: No space left on device (2 MiB are free); "
        "the newest whole checkpoint is resume/checkpoint-10. "
        "Make room, or take a larger claim or one that this pod may write, and make a new run"
    )
    assert [path.name for path in (small_disk / "demo-0badcafe" / RESUME).iterdir()] == ["checkpoint-10"]


def test_a_small_file_that_does_not_fit_leaves_the_one_before(small_disk: Path) -> None:
    folder = make_folder(small_disk)
    folder.write_json("baseline.json", {"wer": "30.00"})
    with pytest.raises(TrainerError, match="No space left on device"):
        folder.write_text("baseline.json", "x" * (5 << 20))
    assert folder.read_json("baseline.json") == {"wer": "30.00"}
    assert [path.name for path in (small_disk / "demo-0badcafe").iterdir()] == ["baseline.json"]


def test_a_volume_that_cannot_be_written_is_found_before_any_work(small_disk: Path) -> None:
    small_disks.make_read_only(small_disk)
    with pytest.raises(
        TrainerError, match=r"cannot write pvc://speech/runs: Read-only file system.*no checkpoint is"
    ) as raised:
        make_folder(small_disk)
    assert raised.value.exit_code == 73


def test_a_read_only_volume_without_the_folder_of_the_runs_is_explained_too(small_disk: Path) -> None:
    small_disks.make_read_only(small_disk)
    with pytest.raises(TrainerError, match="Read-only file system"):
        make_folder(small_disk / "runs/of/many")


def test_a_file_in_the_place_of_the_folder_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "demo-0badcafe").write_text("a file")
    with pytest.raises(TrainerError, match="File exists") as raised:
        make_folder(tmp_path)
    assert raised.value.reason == "OutputNotWritable"


def test_a_name_that_is_too_long_is_not_writable(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="File name too long") as raised:
        make_folder(tmp_path / ("x" * 300) / "runs")
    assert raised.value.reason == "OutputNotWritable"


def test_only_failures_that_stay_count_as_not_writable() -> None:
    assert storage.words_of_write_fault(OSError(errno.ENOSPC, "full")) == "No space left on device"
    rust = RuntimeError('Error while serializing: I/O error: Os { "No space left on device (os error 28)" }')
    assert storage.words_of_write_fault(rust) == "No space left on device"
    for passing in (OSError(errno.EIO, "the network volume hiccups"), OSError(errno.ESTALE, "stale"), ValueError("x")):
        assert storage.words_of_write_fault(passing) is None


def open_run_folder(uri: str, speech: Path) -> RunFolder:
    made = make_config(make_spec(output={"uri": uri}), speech)
    return run_output.open_run_folder(
        made.spec, made.run_folder_name, made.uid, made.volumes, made.scratch_folder, lambda: None
    )


def test_the_folder_of_a_configuration(tmp_path: Path) -> None:
    folder = open_run_folder("pvc://speech/runs/it", tmp_path)
    assert list(tmp_path.iterdir()) == []
    folder.prepare()
    assert (tmp_path / "runs/it/demo-0badcafe").is_dir()


@pytest.mark.parametrize("output", ["gs://bucket/runs", "pvc://other/runs"])
def test_an_output_that_is_not_at_hand_is_bad_configuration(tmp_path: Path, output: str) -> None:
    with pytest.raises(TrainerError, match=r"output\.uri") as raised:
        open_run_folder(output, tmp_path)
    assert raised.value.reason == "ConfigInvalid"


def test_the_training_fields_are_those_that_decide_the_weights() -> None:
    def digest(**training: Any) -> str:
        return run_identity.training_fields_digest(make_config(make_spec(training=training)).spec)

    assert digest() == digest(steps=1000) == digest(resumeEverySeconds=5)
    assert digest() != digest(steps=999)
    assert digest() != digest(seed=1)
