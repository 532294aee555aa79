"""Whole attempts at runs whose output is a bucket of a real S3 server, behind a proxy that makes faults."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load

import small_disks
import tiny_whisper
import tones
from object_store import versitygw
from object_store.versitygw import ObjectStore
from repository import ROOT
from store_doubles import fault_proxy
from store_doubles.fault_proxy import FaultProxy, Request
from trainer_attempts import Volume
from trainer_configs import FOLDER, UID
from whisper_finetune_api.run import CONFIG_ENV, TrainerConfig
from whisper_finetune_trainer.output import folder_manifest, uploads
from whisper_finetune_trainer.output.object_storage import ObjectStorage
from whisper_finetune_trainer.output.run_folder import RunFolder
from whisper_finetune_trainer.output.uploads import Uploads
from whisper_finetune_trainer.progress.progress import Snapshot
from whisper_finetune_trainer.stores import object_store
from whisper_finetune_trainer.stores.object_store import open_store

pytestmark = pytest.mark.slow

RUN = f"models/it/{FOLDER}"


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a volume with a tiny model and 12 clips."""
    folder = tmp_path_factory.mktemp("speech")
    tiny_whisper.build(folder / "model")
    tones.write_clips(folder / "clips", 12)
    tones.write_clips(folder / "clips", 20, name="validation")
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with versitygw.serving(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture
def bucket(server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """Return an empty bucket `models`, reached through a proxy; its keys are in this process's environment."""
    server.filesystem.mkdir("models")
    with fault_proxy.before(server.endpoint) as proxy:
        made = Bucket(server, proxy)
        set_keys(monkeypatch, server.behind(proxy.endpoint))
        yield made
    server.filesystem.rm("models", recursive=True)


def set_keys(monkeypatch: pytest.MonkeyPatch, store: ObjectStore) -> None:
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)


class Bucket:
    """The bucket that runs write to, as the test sees it past the proxy."""

    def __init__(self, store: ObjectStore, proxy: FaultProxy) -> None:
        self.store = store
        self.proxy = proxy
        self._filesystem = store.filesystem

    def names(self, path: str = "") -> list[str]:
        """Return every object of the run, or of a folder of it."""
        return self.store.names(f"{RUN}/{path}".rstrip("/"))

    def read(self, path: str) -> bytes:
        content: bytes = self._filesystem.cat_file(f"{RUN}/{path}")
        return content

    def json(self, path: str) -> Any:
        return json.loads(self.read(path))

    def latest(self) -> Any:
        return json.loads(self._filesystem.cat_file("models/it/latest.json"))

    def states(self) -> list[str]:
        return [name for name in self.names("resume") if name.endswith("manifest.json")]

    def assert_whole(self, path: str) -> None:
        """Every file that the manifest names is there as it says, and nothing else is."""
        manifest = self.json(f"{path}/manifest.json")
        assert self.names(path) == sorted([*manifest["files"], "manifest.json"])
        for name, entry in manifest["files"].items():
            assert folder_manifest.sha256(self.read(f"{path}/{name}")) == entry["sha256"]


class Runs(Volume):
    """Attempts at a run with its output in the bucket."""

    def config(self, **training: Any) -> TrainerConfig:  # type: ignore[override]  # fewer arguments are enough here
        return super().config(output={"uri": "s3://models/it"}, **training)


@pytest.fixture
def runs(speech: Path, tmp_path: Path, bucket: Bucket) -> Runs:
    return Runs(speech, tmp_path)


def is_put(name: str) -> Callable[[Request], bool]:
    """Return whether a request writes an object whose address holds `name`."""
    return lambda request: request.method == "PUT" and name in request.path


def weights(bucket: Bucket) -> dict[str, torch.Tensor]:
    return load(bucket.read("model/model.safetensors"))


def stop_at(step: int) -> Callable[[Snapshot], None]:
    """Return a listener that sends SIGTERM once, when a step is done."""
    sent: list[int] = []

    def listen(snapshot: Snapshot) -> None:
        progress = snapshot.report.progress
        if progress and progress.step == step and progress.loss and not sent:
            sent.append(step)
            os.kill(os.getpid(), signal.SIGTERM)

    return listen


def test_a_run_from_data_to_result(runs: Runs, bucket: Bucket) -> None:
    ended = runs.attempt(runs.config(steps=30, evalEverySteps=10))
    result = ended.result
    assert ended.exit_code == 0, result.message
    assert result.model is not None
    assert {name.split("/")[0] for name in bucket.names()} == {
        "baseline.json", "checkpoints", "evaluation.jsonl", "evaluations", "model", "report.html", "result.json",
        "tensorboard", "validation",
    }  # fmt: skip
    bucket.assert_whole("model")
    assert result.model.sha256 == folder_manifest.sha256(bucket.read("model/manifest.json"))
    assert [checkpoint.path for checkpoint in result.checkpoints] == [
        f"checkpoints/checkpoint-{step}" for step in (20, 30)
    ]
    for checkpoint in result.checkpoints:
        bucket.assert_whole(checkpoint.path)
    assert (bucket.latest()["uid"], bucket.latest()["model"]) == (UID, f"{FOLDER}/model")
    assert list((runs.folder / "scratch/output").rglob("*.safetensors")) == []


def test_a_restored_run_takes_over_its_model_in_the_bucket(runs: Runs, bucket: Bucket) -> None:
    config = runs.config(steps=1)
    first = runs.attempt(config)
    written = bucket.names()
    restored = {"uid": "feedface-1111-2222-3333-444455556666", "takes_over": True}
    again = runs.attempt(config.model_copy(update=restored))
    assert again.result == first.result.model_copy(update={"folder": FOLDER}), again.result.message
    assert bucket.names() == written
    assert not bucket.store.names("models/it/demo-feedface")


def test_keys_that_may_not_list_other_runs_are_enough_to_train(
    runs: Runs, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    bucket.proxy.refuse(lambda request: "prefix=it%2F&" in f"{request.path}&", 403, "AccessDenied")
    caplog.set_level(logging.INFO)
    config = runs.config(steps=1).model_copy(update={"takes_over": True})
    ended = runs.attempt(config)
    assert ended.exit_code == 0, ended.result.message
    assert "earlier runs are not looked for: " in caplog.text


def test_a_checkpoint_goes_only_once_a_newer_one_is_whole(runs: Runs, bucket: Bucket) -> None:
    assert runs.attempt(runs.config(steps=31, saveEverySteps=10)).exit_code == 0
    assert [name for name in bucket.names("checkpoints") if name.endswith("manifest.json")] == [
        "checkpoint-20/manifest.json",
        "checkpoint-30/manifest.json",
    ]
    asked = [(request.method, request.path) for request in bucket.proxy.requests]
    newer = asked.index(("PUT", f"/{RUN}/checkpoints/checkpoint-30/manifest.json"))
    older = asked.index(("DELETE", f"/{RUN}/checkpoints/checkpoint-10/manifest.json"))
    assert newer < older


def test_a_stopped_run_uploads_its_newest_state_and_goes_on_exactly(
    runs: Runs, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    unbroken = runs.attempt(runs.config(steps=12))
    assert unbroken.exit_code == 0
    expected = weights(bucket)
    bucket.store.filesystem.rm(RUN, recursive=True)

    stopped = runs.attempt(runs.config(steps=12), on_change=stop_at(7))
    assert stopped.exit_code == 75
    assert stopped.result.message == "stopped by SIGTERM; the next attempt goes on from resume/checkpoint-7"
    bucket.assert_whole("resume/checkpoint-7")
    caplog.set_level(logging.INFO)
    assert runs.attempt(runs.config(steps=12)).exit_code == 0
    assert "resumed from resume/checkpoint-7" in caplog.text
    found = weights(bucket)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert bucket.names("resume") == []


def test_training_goes_on_while_a_slow_store_is_written_to(runs: Runs, bucket: Bucket) -> None:
    """At most one state is on its way and one waits; at the end the newest two are whole."""
    bucket.proxy.add(fault_proxy.Fault(is_put("state.json"), delay_seconds=0.3))
    staged: list[int] = []

    def look(_: Snapshot) -> None:
        staged.append(len(list((runs.folder / "scratch/output").glob("*/resume/checkpoint-*"))))

    assert runs.attempt(runs.config(steps=8, resumeEverySeconds=1, evalEverySteps=2), look).exit_code == 0
    assert 1 <= max(staged) <= 2
    bucket.assert_whole("model")


def test_a_damaged_state_is_skipped(runs: Runs, bucket: Bucket, caplog: pytest.LogCaptureFixture) -> None:
    assert runs.attempt(runs.config(steps=12, evalEverySteps=4), on_change=stop_at(6)).exit_code == 75
    assert bucket.states() == ["checkpoint-4/manifest.json", "checkpoint-6/manifest.json"]
    damaged = bytearray(bucket.read("resume/checkpoint-6/state-00000.safetensors"))
    damaged[-1] ^= 1
    bucket.store.filesystem.pipe(f"{RUN}/resume/checkpoint-6/state-00000.safetensors", bytes(damaged))
    caplog.set_level(logging.INFO)
    assert runs.attempt(runs.config(steps=12, evalEverySteps=4)).exit_code == 0
    assert "resume/checkpoint-6/state-00000.safetensors is damaged; trying an older checkpoint" in caplog.text
    assert "resumed from resume/checkpoint-4" in caplog.text


def test_half_an_upload_of_a_killed_attempt_is_nothing_and_goes(runs: Runs, bucket: Bucket) -> None:
    assert runs.attempt(runs.config(steps=12), on_change=stop_at(6)).exit_code == 75
    # What a kill in the middle of an upload leaves: files without their manifest, and an unfinished upload.
    filesystem = bucket.store.filesystem
    filesystem.copy(f"{RUN}/resume/checkpoint-6/state.json", f"{RUN}/resume/checkpoint-9/state.json")
    filesystem.call_s3("create_multipart_upload", Bucket="models", Key=f"it/{FOLDER}/resume/checkpoint-9/state.bin")
    assert runs.attempt(runs.config(steps=12)).exit_code == 0
    bucket.assert_whole("model")
    assert bucket.names("resume") == []
    assert not filesystem.call_s3("list_multipart_uploads", Bucket="models").get("Uploads")


def test_what_cannot_be_written_is_found_before_the_model_is_loaded(
    runs: Runs, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = runs.config(steps=2)
    elsewhere = config.model_copy(
        update={"spec": config.spec.model_copy(update={"output": type(config.spec.output)(uri="s3://modles/it")})}
    )
    ended = runs.attempt(elsewhere)
    assert (ended.exit_code, ended.result.reason) == (73, "OutputNotWritable")
    assert "bucket modles of s3://modles/it does not exist" in ended.result.message
    assert ended.result.message.endswith("no checkpoint is whole yet. Then make a new run")

    reader = bucket.store.make_user()
    set_keys(monkeypatch, reader)
    allow_to_read(bucket.store, reader.access_key)
    ended = runs.attempt(config)
    assert (ended.exit_code, ended.result.reason) == (73, "OutputNotWritable")
    assert "these credentials have no right to s3://models/it (AccessDenied)" in ended.result.message

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    ended = runs.attempt(config)
    assert (ended.exit_code, ended.result.reason) == (77, "AccessDenied")
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in ended.result.message


def allow_to_read(store: ObjectStore, who: str) -> None:
    resources = ["arn:aws:s3:::models", "arn:aws:s3:::models/*"]
    actions = ["s3:GetObject", "s3:ListBucket"]
    statement = {"Effect": "Allow", "Principal": {"AWS": [who]}, "Action": actions, "Resource": resources}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    store.filesystem.call_s3("put_bucket_policy", Bucket="models", Policy=policy)


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId"])
def test_a_token_that_expires_in_mid_run_costs_one_attempt(runs: Runs, bucket: Bucket, code: str) -> None:
    """The next attempt's pod takes the Secret's new token; only one that has expired by then ends the run."""
    expired = bucket.proxy.refuse(is_put("checkpoint-4"), 400, code)
    ended = runs.attempt(runs.config(steps=400, evalEverySteps=2))
    assert (ended.exit_code, ended.result.reason) == (1, None)
    assert "checkpoint-4" in ended.result.message
    assert [checkpoint.step for checkpoint in ended.result.checkpoints] == [2, 2]
    expired.is_for = lambda _: True
    ended = runs.attempt(runs.config(steps=400, evalEverySteps=2))
    assert (ended.exit_code, ended.result.reason) == (77, "AccessDenied")
    assert f"({code})" in ended.result.message


def test_a_policy_that_refuses_latest_json_does_not_undo_a_whole_model(
    runs: Runs, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    bucket.proxy.refuse(is_put("it/latest.json"), 403, "AccessDenied")
    ended = runs.attempt(runs.config(steps=2))
    assert (ended.exit_code, ended.result.reason) == (0, None), ended.result.message
    bucket.assert_whole("model")
    assert bucket.states() == []
    assert "no new run is needed; let runs read and write latest.json in output.uri" in caplog.text


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (500, "InternalError")])
def test_old_folders_that_cannot_be_removed_are_a_warning_and_no_more(
    runs: Runs,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
    code: str,
) -> None:
    """Four states and checkpoints are made, so most attempts to remove older ones come in the middle of the run."""
    monkeypatch.setattr(object_store, "_TRIES", 1)
    bucket.proxy.refuse(is_removal_of_a_folder, status, code)
    ended = runs.attempt(runs.config(steps=8, evalEverySteps=2))
    assert (ended.exit_code, ended.result.reason) == (0, None), ended.result.message
    bucket.assert_whole("model")
    assert len(bucket.states()) == 4
    assert bucket.latest()["model"] == f"{FOLDER}/model"
    warnings = [record.getMessage() for record in caplog.records if "cannot remove old folders" in record.getMessage()]
    assert len(warnings) == 1
    assert code in warnings[0]
    assert warnings[0].endswith("Once it is finished, remove old checkpoints/ and all of resume/ by hand")


def is_removal_of_a_folder(request: Request) -> bool:
    """Return whether a request removes a manifest, which is the first to go."""
    return request.method == "DELETE" and request.path.endswith("manifest.json")


def test_short_faults_of_the_store_change_nothing(
    runs: Runs, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(object_store, "_TRIES", 1)
    monkeypatch.setattr(uploads, "PAUSES_SECONDS", (0.1, 0.1))
    busy = bucket.proxy.refuse(is_put("state.json"), 503, "SlowDown", times=2)
    cut = bucket.proxy.cut(is_put("model/model.safetensors"), after_bytes=1000, times=6)
    assert runs.attempt(runs.config(steps=4, evalEverySteps=2)).exit_code == 0
    assert (busy.seen, cut.seen) == (2, 6)
    assert "trying again in 0 s" in caplog.text
    bucket.assert_whole("model")


def test_an_attempt_never_succeeds_before_all_is_uploaded(
    runs: Runs, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "_TRIES", 1)
    monkeypatch.setattr(uploads, "PAUSES_SECONDS", ())
    broken = bucket.proxy.cut(is_put("model/manifest.json"))
    ended = runs.attempt(runs.config(steps=2))
    assert (ended.exit_code, ended.result.reason) == (1, None)
    assert "model" in ended.result.message
    broken.times = 0
    ended = runs.attempt(runs.config(steps=2))
    assert ended.exit_code == 0
    bucket.assert_whole("model")
    assert bucket.latest()["sha256"] == folder_manifest.sha256(bucket.read("model/manifest.json"))


def test_two_runs_that_end_together_leave_the_newer_one_in_latest_json(bucket: Bucket) -> None:
    """Each has read latest.json before the other writes it; no write is lost."""
    storages = [ObjectStorage(open_store("s3://models/it", "output.uri"), Path("/nowhere"), Uploads()) for _ in "ab"]
    barrier = threading.Barrier(2)
    seen: list[bytes | None] = []

    def newest(mine: bytes) -> Callable[[bytes | None], bytes | None]:
        def change(known: bytes | None) -> bytes | None:
            if len(seen) < 2:
                seen.append(known)
                barrier.wait()
            return mine if known is None or known < mine else None

        return change

    for storage, mine in zip(storages, (b"2026-01", b"2026-02"), strict=True):
        storage.update_bytes("latest.json", newest(mine))
    for storage in storages:
        storage.wait()
    assert seen == [None, None]
    assert bucket.store.filesystem.cat_file("models/it/latest.json") == b"2026-02"


def test_a_full_store_names_the_newest_whole_checkpoint(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disks.mounted(disk, mebibytes=6), versitygw.serving(tmp_path / "full", disk) as store:
        store.filesystem.mkdir("models")
        set_keys(monkeypatch, store)
        ended = runs.attempt(runs.config(steps=400, evalEverySteps=2), on_change=fill_at(4, disk / "filler"))
        assert (ended.exit_code, ended.result.reason) == (73, "OutputNotWritable")
        assert "the store at s3://models/it is full (InsufficientStorage)" in ended.result.message
        newest = ended.result.checkpoints[-1]
        assert f"the newest whole checkpoint is resume/checkpoint-{newest.step}" in ended.result.message
        (disk / "filler").unlink()
        with fault_proxy.before(store.endpoint) as proxy:
            Bucket(store, proxy).assert_whole(f"resume/checkpoint-{newest.step}")


def fill_at(step: int, filler: Path) -> Callable[[Snapshot], None]:
    """Return a listener that fills a disk once, when a step is done."""

    def listen(snapshot: Snapshot) -> None:
        progress = snapshot.report.progress
        if progress and progress.step == step and not filler.exists():
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))

    return listen


def test_checkpoints_that_do_not_fit_the_scratch_space_are_bad_configuration(runs: Runs, bucket: Bucket) -> None:
    config = runs.config(steps=2).model_copy(update={"scratch_limit_bytes": 1000})
    ended = runs.attempt(config)
    assert (ended.exit_code, ended.result.reason) == (64, "ConfigInvalid")
    assert "give the runtime a larger scratchLimit" in ended.result.message


class TestFolders:
    """One run's folder without a training: what an interrupted network and kills leave."""

    @pytest.fixture
    def scratch(self, tmp_path: Path) -> Path:
        return tmp_path

    def folder(self, scratch: Path) -> RunFolder:
        storage = ObjectStorage(open_store("s3://models/it", "output.uri"), scratch, Uploads())
        return RunFolder(storage, FOLDER, "s3://models/it", UID, "f" * 64)

    def write(self, folder: RunFolder, step: int, size: int = 10) -> None:
        folder.write_folder(
            f"resume/checkpoint-{step}", step, lambda path: (path / "state.bin").write_bytes(os.urandom(size)) and None
        )

    def test_parts_of_a_large_file_are_sent_again_one_by_one(
        self, bucket: Bucket, scratch: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(object_store, "PART_BYTES", 5 << 20)
        cut = bucket.proxy.cut(lambda request: "partNumber=2" in request.path, after_bytes=1 << 20, times=2)
        folder = self.folder(scratch)
        self.write(folder, 1, size=16 << 20)
        folder.wait_until_written()
        assert cut.seen == 2
        bucket.assert_whole("resume/checkpoint-1")
        parts = [request.path for request in bucket.proxy.requests if "partNumber" in request.path]
        assert sum("partNumber=2" in path for path in parts) == 3
        assert sum("partNumber=1" in path for path in parts) == 1

    def test_at_most_one_folder_waits_while_one_is_on_its_way(self, bucket: Bucket, scratch: Path) -> None:
        gate = bucket.proxy.close(is_put("checkpoint-1/state.bin"))
        folder = self.folder(scratch)
        self.write(folder, 1)
        self.write(folder, 2)
        third = threading.Thread(target=self.write, args=(folder, 3), daemon=True)
        third.start()
        third.join(0.3)
        assert third.is_alive()
        assert not (scratch / FOLDER / "resume/checkpoint-3").exists()
        gate.set()
        third.join()
        folder.wait_until_written()
        assert [found.manifest.step for found in self.folder(scratch).checkpoints("resume")] == [1, 2, 3]
        assert list((scratch / FOLDER / "resume").iterdir()) == []

    def test_the_last_state_overtakes_one_that_nobody_has_begun(self, bucket: Bucket, scratch: Path) -> None:
        gate = bucket.proxy.close(is_put("checkpoint-1/state.bin"))
        folder = self.folder(scratch)
        self.write(folder, 1)
        assert gate.reached.wait(30)
        self.write(folder, 2)
        folder.drop_waiting_states()
        self.write(folder, 3)
        gate.set()
        folder.wait_until_written()
        assert [found.manifest.step for found in self.folder(scratch).checkpoints("resume")] == [1, 3]

    def test_another_runs_files_are_neither_read_nor_removed(self, bucket: Bucket, scratch: Path) -> None:
        mine = self.folder(scratch)
        self.write(mine, 1)
        mine.wait_until_written()
        storage = ObjectStorage(open_store("s3://models/it", "output.uri"), scratch, Uploads())
        theirs = RunFolder(storage, "other-11112222", "s3://models/it", "11112222", "f" * 64)
        theirs.prepare()
        assert theirs.checkpoints("resume") == ()
        bucket.assert_whole("resume/checkpoint-1")


def test_a_killed_upload_and_a_killed_pod_in_a_row_end_in_one_whole_model(
    runs: Runs, bucket: Bucket, tmp_path: Path
) -> None:
    """The first attempt is killed while it uploads its second state, the second one while it uploads the model."""
    config = runs.config(steps=8, evalEverySteps=3)
    kill_while(config, bucket, is_put("resume/checkpoint-6/manifest.json"), tmp_path)
    assert bucket.states() == ["checkpoint-3/manifest.json"]
    kill_while(config, bucket, is_put("/model/manifest.json"), tmp_path)
    assert "model.safetensors" in bucket.names("model")
    assert "manifest.json" not in bucket.names("model")
    with pytest.raises(FileNotFoundError):
        bucket.latest()

    ended = runs.attempt(config)
    assert ended.exit_code == 0, ended.result.message
    bucket.assert_whole("model")
    assert bucket.latest()["model"] == f"{FOLDER}/model"
    assert bucket.names("resume") == []
    assert runs.attempt(config) == ended


def kill_while(config: TrainerConfig, bucket: Bucket, is_for: Callable[[Request], bool], folder: Path) -> None:
    """Make an attempt in a process of its own, as in a pod, and kill it while a request is under way."""
    gate = bucket.proxy.close(is_for)
    process = start(config, folder)
    try:
        assert gate.reached.wait(60), "the attempt never came so far"
    finally:
        process.kill()
        process.wait()
        gate.drop()


def start(config: TrainerConfig, folder: Path) -> subprocess.Popen[bytes]:
    """Start an attempt in a process of its own, which leaves termination.log in the folder."""
    python_path = os.pathsep.join(str(ROOT / part) for part in ("crds", "trainer"))
    environment = {**os.environ, CONFIG_ENV: config.model_dump_json(by_alias=True, exclude_none=True)}
    return subprocess.Popen(
        [sys.executable, "-m", "whisper_finetune_trainer", "--termination-log", str(folder / "termination.log")],
        env={**environment, "PYTHONPATH": python_path, "OMP_NUM_THREADS": "1"},
    )


def test_a_stopped_pod_ends_by_itself_while_the_store_does_not_answer(
    runs: Runs, bucket: Bucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the kubelet kills it: with its message, its exit code, and the older state whole."""
    config = runs.config(steps=8, evalEverySteps=3)
    gate = bucket.proxy.close(is_put("resume/checkpoint-6/manifest.json"))
    process = start(config.model_copy(update={"grace_seconds": 3}), tmp_path)
    try:
        assert gate.reached.wait(60), "the attempt never came so far"
        process.terminate()
        assert process.wait(60) == 75
    finally:
        process.kill()
        process.wait()
        gate.drop()
    message = json.loads((tmp_path / "termination.log").read_bytes())
    assert "reason" not in message
    assert message["message"] == (
        "stopped by SIGTERM; the next attempt goes on from resume/checkpoint-3; what was still on its way could not be "
        "written in the 3 s of graceSeconds"
    )
    assert bucket.states() == ["checkpoint-3/manifest.json"]
    caplog.set_level(logging.INFO)
    assert runs.attempt(config).exit_code == 0
    assert "resumed from resume/checkpoint-3" in caplog.text
    bucket.assert_whole("model")


OLD_PYTHON = ROOT / ".venv38/bin/python"
ON_PYTHON_38 = """
import sys
from pathlib import Path
from whisper_finetune_trainer.stores import object_store
from whisper_finetune_trainer.output.object_storage import ObjectStorage
from whisper_finetune_trainer.output.run_folder import RunFolder
from whisper_finetune_trainer.output.uploads import Uploads

object_store.PART_BYTES = 5 << 20
store = object_store.open_store("s3://models/it", "output.uri")
storage = ObjectStorage(store, Path(sys.argv[2]), Uploads())
folder = RunFolder(storage, sys.argv[1], "s3://models/it", sys.argv[3], "f" * 64)
folder.prepare()
folder.write_folder("resume/checkpoint-1", 1, lambda path: (path / "state.bin").write_bytes(bytes(11 << 20)) and None)
folder.update_latest(lambda known: {"known": known})
folder.wait_until_written()
with folder.newest_to_resume() as newest:
    print(newest.stored.path, (newest.local / "state.bin").stat().st_size)
"""


@pytest.mark.skipif(not OLD_PYTHON.exists(), reason="no .venv38: no Python 3.8 on this machine")
def test_the_older_libraries_of_the_ipu_stack_write_the_same(bucket: Bucket, tmp_path: Path) -> None:
    ran = subprocess.run(
        [OLD_PYTHON, "-c", ON_PYTHON_38, FOLDER, tmp_path, UID],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("crds", "trainer"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == f"resume/checkpoint-1 {11 << 20}\n", ran.stderr
    bucket.assert_whole("resume/checkpoint-1")
    assert bucket.latest() == {"known": None}
    parts = [request.path for request in bucket.proxy.requests if "partNumber" in request.path]
    assert len(parts) == 3
