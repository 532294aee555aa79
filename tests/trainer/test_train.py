"""Whole attempts at a run with a tiny model that really trains: what they write, how they end, how they go on."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import small_disks
import tiny_whisper
import tones
from trainer_attempts import Volume, stop_at
from trainer_configs import FOLDER, UID
from whisper_finetune_api.run import TrainingResult
from whisper_finetune_trainer.checkpoints import checkpoints
from whisper_finetune_trainer.model.examples import Targets
from whisper_finetune_trainer.output import folder_manifest
from whisper_finetune_trainer.progress.progress import Measured, Snapshot
from whisper_finetune_trainer.pytorch.backend import TorchBackend

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a volume with a tiny model and 20 clips."""
    folder = tmp_path_factory.mktemp("speech")
    tiny_whisper.build(folder / "model")
    tones.write_clips(folder / "clips", 20)
    tones.write_clips(folder / "clips", 20, name="validation")
    return folder


@pytest.fixture
def volume(speech: Path, tmp_path: Path) -> Volume:
    return Volume(speech, tmp_path)


def test_a_translation_is_scored_by_chrf_everywhere(volume: Volume) -> None:
    ended = volume.attempt(
        volume.config(steps=60, evalEverySteps=30, patience=2, spec={"task": "translate", "language": "it"})
    )
    result = ended.result
    assert ended.exit_code == 0, result.message
    assert (result.metric and result.metric.name, result.baseline is not None) == ("chrf", True)
    assert result.baseline is not None
    assert result.result is not None
    assert result.validation is not None
    assert result.result.score == result.result.chrf
    assert float(result.result.bleu or 0) >= 0
    assert result.message.startswith(f"chrF {result.baseline.score} -> {result.result.score}")
    assert float(result.validation.best or 0) > float(result.validation.baseline)
    assert float(result.result.score or 0) > float(result.baseline.score or 0)
    best = [json.loads((volume.run / f"validation/evaluation-{step}.json").read_bytes()) for step in (30, 60)]
    assert max(float(each["figures"]["chrf"]) for each in best) == float(result.validation.best or 0)
    latest = volume.json("../latest.json")
    assert (latest["metric"], latest["score"]) == ("chrf", result.result.score)
    assert f"| chrF | {result.baseline.score} |" in (volume.run / "model/README.md").read_text()
    assert "the higher the better" in (volume.run / "report.html").read_text()


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have PyTorch's allocator fail where more than two clips go through the network at once."""
    summed_loss = TorchBackend._summed_loss

    def allocate(backend: TorchBackend, window: int, targets: Targets, heard: dict[str, object]) -> torch.Tensor:
        if len(targets.labels) > 2:
            torch.empty(1 << 46)
        return summed_loss(backend, window, targets, heard)

    monkeypatch.setattr(TorchBackend, "_summed_loss", allocate)


@pytest.mark.usefixtures("little_memory")
def test_a_run_without_much_memory_goes_on_with_fewer_clips_at_once(volume: Volume) -> None:
    told: list[int | None] = []
    ended = volume.attempt(
        volume.config(steps=3), lambda now: told.append(now.report.ran_on and now.report.ran_on.micro_batch_size)
    )
    assert ended.exit_code == 0, ended.result.message
    assert [size for size in dict.fromkeys(told) if size] == [4, 2]
    ran_on = ended.result.ran_on
    assert ran_on is not None
    # The process has more than its tensors.
    assert 0 < (ran_on.estimated_mebibytes or 0) < (ran_on.peak_mebibytes or 0)
    assert (ran_on.peak_mebibytes or 0) % 64 == 0


@pytest.mark.usefixtures("little_memory")
def test_a_run_ends_where_as_many_clips_at_once_as_the_user_says_do_not_fit(volume: Volume) -> None:
    ended = volume.attempt(volume.config(steps=3, microBatchSize=4))
    assert (ended.exit_code, ended.result.reason) == (64, "OutOfMemory")
    assert "; lower training.microBatchSize below 4, or leave it out, or set" in ended.result.message


def test_a_run_from_data_to_result(volume: Volume) -> None:
    ended = volume.attempt(volume.config(steps=150, saveEverySteps=60, output={"float16Copy": True}))
    result = ended.result
    assert ended.exit_code == 0, result.message
    assert result.reason is None
    assert result.baseline is not None
    assert result.result is not None
    assert result.data is not None
    assert result.progress is not None
    assert float(result.result.score or 0) < float(result.baseline.score or 0)
    assert (result.data.train_clips, result.data.eval_clips, result.data.split) == (16, 4, "Fraction")
    assert (result.progress.step, result.progress.percent) == (150, 100)
    assert [checkpoint.path for checkpoint in result.checkpoints] == [
        "checkpoints/checkpoint-60",
        "checkpoints/checkpoint-120",
    ]
    assert volume.names() == [
        "baseline.json", "checkpoints", "evaluation.jsonl", "evaluations", "model", "report.html", "result.json",
        "resume", "tensorboard",
    ]  # fmt: skip
    assert volume.names("resume") == []
    assert TrainingResult.model_validate(volume.json("result.json")) == result
    assert result.model is not None
    assert "model.fp16.safetensors" in volume.json("model/manifest.json")["files"]
    assert result.model.sha256 == folder_manifest.file_sha256(volume.run / "model/manifest.json")
    assert volume.json("../latest.json") == {
        "run": FOLDER,
        "uid": UID,
        "model": f"{FOLDER}/model",
        "sha256": result.model.sha256,
        "metric": "wer",
        "score": result.result.score,
        "wer": result.result.wer,
        "normalizedWer": result.result.normalized_wer,
        "verdict": "Better",
        "finished": result.progress.update_time,
    }
    card = (volume.run / "model/README.md").read_text(encoding="utf-8")
    assert f"| normalized WER | {result.baseline.score} | {result.result.score} |" in card
    assert "- step 150 of 150, 4 clips each" in card
    rows = [json.loads(line) for line in (volume.run / "evaluation.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [set(row) for row in rows] == [{"id", "reference", "before", "after"}] * 4
    assert volume.json("baseline.json")["hypotheses"] == [row["before"] for row in rows]
    assert any(row["after"] == row["reference"] for row in rows)


def test_a_finished_run_is_only_reported(volume: Volume, caplog: pytest.LogCaptureFixture) -> None:
    config = volume.config(steps=2)
    first = volume.attempt(config)
    written = {path: path.stat().st_mtime_ns for path in (volume.run / "model").iterdir()}
    (volume.folder / "it/latest.json").unlink()
    # Nothing but the run's folder is needed: the data may be gone by now.
    gone = config.model_copy(update={"volumes": {**config.volumes, "speech": "/nowhere"}})
    caplog.set_level(logging.INFO)
    assert volume.attempt(gone) == first
    assert {path: path.stat().st_mtime_ns for path in (volume.run / "model").iterdir()} == written
    assert volume.json("../latest.json")["uid"] == UID
    assert "an earlier attempt has finished this run" in caplog.text


def test_a_finished_run_is_reported_from_a_volume_that_cannot_be_written_any_more(volume: Volume) -> None:
    with small_disks.mounted(volume.folder, mebibytes=8):
        config = volume.config(steps=2)
        first = volume.attempt(config)
        small_disks.make_read_only(volume.folder)
        assert volume.attempt(config) == first


def test_an_old_run_that_only_reports_does_not_push_a_newer_one_aside(volume: Volume) -> None:
    config = volume.config(steps=2)
    volume.attempt(config)
    newer = {**volume.json("../latest.json"), "run": "other-12345678", "finished": "2999-01-01T00:00:00Z"}
    (volume.folder / "it/latest.json").write_text(json.dumps(newer), encoding="utf-8")
    assert volume.attempt(config).exit_code == 0
    assert volume.json("../latest.json") == newer


def test_a_model_that_is_not_whole_is_made_again(volume: Volume) -> None:
    config = volume.config(steps=2)
    first = volume.attempt(config)
    (volume.run / "model/config.json").unlink()
    again = volume.attempt(config)
    assert again.exit_code == 0
    assert again.result.result == first.result.result
    assert "config.json" in volume.names("model")


def test_what_was_heard_of_an_earlier_training_is_not_the_result_of_this_one(volume: Volume) -> None:
    config = volume.config(steps=2)
    first = volume.attempt(config)
    record = volume.json("evaluations/evaluation-2.json")
    earlier = {**record, "hypotheses": ["something else"] * len(record["hypotheses"])}
    (volume.run / "evaluations/evaluation-2.json").write_text(json.dumps(earlier), encoding="utf-8")
    # No state is left of a finished run. So the training begins anew.
    (volume.run / "model/config.json").unlink()
    again = volume.attempt(config)
    assert again.result.result == first.result.result
    assert volume.json("evaluations/evaluation-2.json") == record


@pytest.mark.parametrize("trainable", ["All", "Decoder"])
def test_a_stopped_run_goes_on_exactly(volume: Volume, tmp_path: Path, trainable: str) -> None:
    straight = Volume(volume.speech, tmp_path / "straight")
    straight.folder.mkdir()
    assert straight.attempt(straight.config(steps=9, trainable=trainable)).exit_code == 0

    config = volume.config(steps=9, trainable=trainable)
    stopped = volume.attempt(config, stop_at(4))
    assert stopped.exit_code == 75
    assert stopped.result.message == "stopped by SIGTERM; the next attempt goes on from resume/checkpoint-4"
    assert stopped.result.baseline is not None
    assert volume.names("resume") == ["checkpoint-4"]
    steps: list[int] = []
    ended = volume.attempt(config, lambda now: steps.append(now.report.progress.step if now.report.progress else -1))
    assert ended.exit_code == 0
    assert min(step for step in steps if step >= 0) == 4
    assert volume.weights().keys() == straight.weights().keys()
    for name, tensor in straight.weights().items():
        assert torch.equal(volume.weights()[name], tensor), name


def test_the_baseline_is_measured_in_the_first_attempt_only(volume: Volume, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    config = volume.config(steps=4)
    first = volume.attempt(config, stop_at(1))
    second = volume.attempt(config, stop_at(2))
    third = volume.attempt(config)
    assert [first.exit_code, second.exit_code, third.exit_code] == [75, 75, 0]
    assert caplog.text.count("step 0: ") == 1
    assert first.result.baseline == third.result.baseline


def test_other_held_out_clips_need_another_baseline(volume: Volume, tmp_path: Path) -> None:
    config = volume.config(steps=4)
    volume.attempt(config, stop_at(1))
    other = tmp_path / "other"
    tiny_whisper.build(other / "model")
    tones.write_clips(other / "clips", 25)
    ended = volume.attempt(config.model_copy(update={"volumes": {**config.volumes, "speech": str(other)}}))
    assert ended.exit_code == 0
    assert len(volume.json("baseline.json")["hypotheses"]) == 5


def test_patience_ends_the_run_and_the_best_evaluation_becomes_the_model(volume: Volume) -> None:
    # A learning rate this small changes no text, so the first evaluation stays the best.
    config = volume.config(steps=10, evalEverySteps=2, patience=2, learningRate="1e-9", output={"keepCheckpoints": 1})
    kept: list[list[int]] = []
    ended = volume.attempt(
        config, lambda now: kept.append([item.step for item in now.report.checkpoints if item.path.startswith("che")])
    )
    assert ended.exit_code == 0, ended.result.message
    assert ended.result.progress is not None
    assert (ended.result.progress.step, ended.result.progress.percent) == (6, 100)
    assert ended.result.model is not None
    assert ended.result.model.step == 2
    # The best one is never removed before it is the final model; then the newest is kept, as the spec says.
    assert [2, 4] in kept
    assert [2, 6] in kept
    assert volume.names("checkpoints") == ["checkpoint-6"]
    assert "- step 2 of 10" in (volume.run / "model/README.md").read_text(encoding="utf-8")
    assert [(item.path, item.wer) for item in ended.result.checkpoints] == [
        ("checkpoints/checkpoint-6", ended.result.baseline and ended.result.baseline.wer)
    ]
    # Chosen by the validation clips, at each step; the held-out ones are heard at the start and at the end alone.
    assert volume.names("validation") == [f"evaluation-{step}.json" for step in (0, 2, 4, 6)]
    assert volume.names("evaluations") == ["evaluation-2.json"]
    result, validation = ended.result, ended.result.validation
    assert result.data is not None
    assert validation is not None
    assert (result.data.train_clips, result.data.validation_clips, result.data.eval_clips) == (16, 20, 4)
    assert (validation.clips, validation.best, validation.step) == (20, validation.baseline, 2)
    assert [item.part for item in result.checkpoints] == ["Validation"]
    assert result.result is not None
    assert result.result.part is None


def test_each_evaluation_is_told_with_all_its_rates(volume: Volume) -> None:
    told: list[Measured] = []
    ended = volume.attempt(
        volume.config(steps=4, evalEverySteps=2), lambda now: told.append(now.measured) if now.measured else None
    )
    newest = {(measured.step, measured.figures.part): measured.figures for measured in told}
    final = max(volume.names("evaluations"))
    chosen = int(final[len("evaluation-") : -len(".json")])
    assert list(newest) == [(0, None), (0, "Validation"), (2, "Validation"), (4, "Validation"), (chosen, None)]
    assert newest[0, None] == ended.result.baseline
    records = {step: volume.json(f"validation/evaluation-{step}.json")["figures"] for step in (0, 2, 4)}
    assert {step: newest[step, "Validation"].to_json_object() for step in records} == records
    assert newest[chosen, None].to_json_object() == volume.json(f"evaluations/{final}")["figures"]


def test_what_chooses_is_not_trained_on_and_what_is_reported_is_not_chosen_by(volume: Volume) -> None:
    heard: list[tuple[str | None, int]] = []

    def note(now: Snapshot) -> None:
        progress = now.report.progress
        if now.report.stage == "Evaluating" and progress and progress.clips_to_evaluate:
            heard.append((progress.evaluated_part, progress.step))

    assert volume.attempt(volume.config(steps=4, evalEverySteps=2), note).exit_code == 0
    times = [(None, 0), ("Validation", 0), ("Validation", 2), ("Validation", 4), (None, 4)]
    assert list(dict.fromkeys(heard)) == times


def test_a_stop_while_the_chosen_model_is_measured_costs_no_step(volume: Volume) -> None:
    config = volume.config(steps=4, evalEverySteps=2, learningRate="1e-9")
    stopped: list[int] = []

    def stop(now: Snapshot) -> None:
        progress = now.report.progress
        of_result = now.report.stage == "Evaluating" and progress and not progress.evaluated_part
        if of_result and progress and progress.step == 4 and progress.clips_to_evaluate and not stopped:
            stopped.append(4)
            os.kill(os.getpid(), signal.SIGTERM)

    assert volume.attempt(config, stop).exit_code == 75
    assert stopped
    steps: list[int] = []
    ended = volume.attempt(config, lambda now: steps.append(now.report.progress.step if now.report.progress else 4))
    assert ended.exit_code == 0
    assert set(steps) == {0, 4} or set(steps) == {4}
    assert ended.result.model is not None
    assert ended.result.model.step == 2
    assert volume.names("evaluations") == ["evaluation-2.json"]


def test_the_result_is_of_the_model_that_is_published(volume: Volume) -> None:
    # The first steps learn, and a rate this high spoils the model afterwards: the best model is not the last one.
    config = volume.config(steps=60, evalEverySteps=15, learningRate="8e-2", output={"keepCheckpoints": 1})
    ended = volume.attempt(config)
    assert ended.exit_code == 0, ended.result.message
    model, result = ended.result.model, ended.result.result
    assert model is not None
    assert result is not None
    assert model.step < 60
    published = {"spec": {"model": f"pvc://runs/it/{FOLDER}/model"}}
    again = Volume(volume.speech, volume.folder / "again")
    again.folder.mkdir()
    measured = again.config(steps=1, spec=published["spec"])
    measured = measured.model_copy(update={"volumes": {**measured.volumes, "runs": str(volume.folder)}})
    measured = measured.model_copy(update={"uid": "99999999-1111-2222-3333-444455556666"})
    baseline = again.attempt(measured).result.baseline
    assert baseline is not None
    assert baseline.score == result.score


def test_patience_counts_on_after_a_stop(volume: Volume) -> None:
    config = volume.config(steps=10, evalEverySteps=2, patience=2, learningRate="1e-9")
    assert volume.attempt(config, stop_at(5)).exit_code == 75
    ended = volume.attempt(config)
    assert ended.result.progress is not None
    assert ended.result.progress.step == 6
    assert volume.names("checkpoints") == ["checkpoint-4", "checkpoint-6"]


def crash() -> None:
    raise RuntimeError("something broke")


@pytest.mark.parametrize(
    ("end", "exit_code"), [(lambda: os.kill(os.getpid(), signal.SIGTERM), 75), (crash, 1)], ids=["stop", "crash"]
)
def test_whatever_ends_an_evaluation_costs_no_step(volume: Volume, end: Callable[[], None], exit_code: int) -> None:
    config = volume.config(steps=6, evalEverySteps=3)
    ended_once: list[int] = []

    def end_evaluation(now: Snapshot) -> None:
        if (
            now.report.stage == "Evaluating"
            and now.report.progress
            and now.report.progress.step == 3
            and not ended_once
        ):
            ended_once.append(3)
            end()

    assert volume.attempt(config, end_evaluation).exit_code == exit_code
    assert volume.names("resume") == ["checkpoint-3"]
    assert volume.names("validation") == ["evaluation-0.json"]
    losses: list[int] = []
    ended = volume.attempt(
        config,
        lambda now: losses.append(now.report.progress.step if now.report.progress and now.report.progress.loss else 0),
    )
    assert ended.exit_code == 0
    assert sorted({step for step in losses if step}) == [4, 5, 6]
    assert volume.names("validation") == [f"evaluation-{step}.json" for step in (0, 3, 6)]


def test_the_rolling_states_are_the_newest_two(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    config = volume.config(steps=30, resumeEverySeconds=1)
    slow: list[int] = []
    # A state is due by the clock. It is the test's own, because a busy machine would take a second for any step.
    monkeypatch.setattr(checkpoints, "time", SimpleNamespace(monotonic=lambda: 1.05 * len(slow)))

    def wait_a_second(now: Snapshot) -> None:
        progress = now.report.progress
        if progress and progress.loss and progress.step in (5, 10, 15) and progress.step not in slow:
            slow.append(progress.step)
        if progress and progress.loss and progress.step == 20:
            os.kill(os.getpid(), signal.SIGTERM)

    assert volume.attempt(config, wait_a_second).exit_code == 75
    assert volume.names("resume") == ["checkpoint-15", "checkpoint-20"]


def test_a_loss_that_is_no_number_ends_the_run_for_good(volume: Volume) -> None:
    ended = volume.attempt(volume.config(steps=20, learningRate="1e30", warmupFraction="0.0"))
    assert ended.exit_code == 65
    assert ended.result.reason == "TrainingDiverged"
    assert "lower training.learningRate" in ended.result.message
    assert ended.result.baseline is not None


def test_a_last_step_that_breaks_the_weights_ends_the_run_for_good(volume: Volume) -> None:
    ended = volume.attempt(volume.config(steps=1, learningRate="1e38", warmupFraction="0.0"))
    assert (ended.exit_code, ended.result.reason) == (65, "TrainingDiverged")
    assert volume.names() == ["baseline.json"]


def test_an_ending_while_loading_carries_what_earlier_attempts_reached(volume: Volume) -> None:
    config = volume.config(steps=9)
    stopped = volume.attempt(config, stop_at(4)).result
    gone = config.model_copy(update={"volumes": {**config.volumes, "speech": "/nowhere"}})
    ended = volume.attempt(gone)
    assert ended.exit_code == 66
    assert ended.result.baseline == stopped.baseline
    assert ended.result.checkpoints == stopped.checkpoints
    assert ended.result.progress is not None
    assert (ended.result.progress.step, ended.result.progress.percent) == (4, 44)


def test_without_the_kept_models_the_last_one_is_the_final_one(volume: Volume) -> None:
    config = volume.config(steps=4, evalEverySteps=2)
    removed: list[int] = []

    def remove_models(now: Snapshot) -> None:
        if now.report.progress and now.report.progress.percent == 100 and not removed:
            for name in volume.names("checkpoints"):
                shutil.rmtree(volume.run / "checkpoints" / name)
                removed.append(1)

    ended = volume.attempt(config, remove_models)
    assert ended.exit_code == 0
    assert removed
    assert ended.result.model is not None
    assert ended.result.model.step == 4


def test_a_disk_that_fills_up_in_training_names_what_is_saved(volume: Volume) -> None:
    # Room for one state of about 2.2 MiB, not for two.
    with small_disks.mounted(volume.folder, mebibytes=4):
        ended = volume.attempt(volume.config(steps=6, saveEverySteps=2))
        assert ended.exit_code == 73
        assert ended.result.reason == "OutputNotWritable"
        assert "No space left on device" in ended.result.message
        assert "the newest whole checkpoint is resume/checkpoint-2" in ended.result.message
        assert [item.path for item in ended.result.checkpoints] == ["resume/checkpoint-2"]
        assert ended.result.baseline is not None
