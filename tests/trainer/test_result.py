"""Every end of an attempt has its exit code, and a message that fits and is readable."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from whisper_finetune_api import causes
from whisper_finetune_api.run import TERMINATION_MESSAGE_MAX_BYTES, TrainingResult
from whisper_finetune_trainer.entrypoints import ending
from whisper_finetune_trainer.entrypoints.ending import Ending
from whisper_finetune_trainer.machine import stopping
from whisper_finetune_trainer.machine.stopping import Stopped, StopRequest
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.progress.progress import Reporter

BASELINE = {"score": "28.00", "wer": "31.20", "normalizedWer": "28.00"}


def reporter_at_step_40() -> Reporter:
    """Return a reporter that knows a baseline and a checkpoint."""
    reporter = Reporter()
    reporter.enter("Training")
    reporter.step_done(40, 100, loss=1.5, learning_rate=1, seconds=3.2)
    reporter.tell(baseline=BASELINE, checkpoints=[{"step": 40, "path": "resume/checkpoint-40", "sha256": "a" * 64}])
    return reporter


def raising(error: BaseException) -> Callable[[], TrainingResult]:
    def attempt() -> TrainingResult:
        raise error

    return attempt


def test_a_good_ending() -> None:
    done = TrainingResult(message="normalized WER 28.00 -> 21.60 %")
    assert ending.ending_of_attempt(lambda: done, Reporter()) == Ending(0, done)


def test_a_bad_ending_carries_all_that_is_known() -> None:
    error = TrainerError("DatasetInvalid", "3 of 10 clips cannot be used")
    ended = ending.ending_of_attempt(raising(error), reporter_at_step_40())
    message = json.loads(ending.termination_message(ended.result))
    assert message["progress"].pop("updateTime")
    assert ended.exit_code == 65
    assert message == {
        "stage": "Training",
        "progress": {"step": 40, "totalSteps": 100, "percent": 40, "loss": "1.5000", "etaSeconds": 192},
        "baseline": BASELINE,
        "checkpoints": [{"step": 40, "path": "resume/checkpoint-40", "sha256": "a" * 64}],
        "reason": "DatasetInvalid",
        "message": "3 of 10 clips cannot be used",
        "seconds": 3,
    }


@pytest.mark.parametrize("cause", [cause for cause in causes.CAUSES if cause.exit_code], ids=lambda cause: cause.reason)
def test_every_cause_of_the_table_ends_with_its_exit_code(cause: causes.Cause) -> None:
    ended = ending.ending_of_attempt(raising(TrainerError(cause.reason, "because")), Reporter())
    assert (ended.exit_code, ended.result.reason) == (cause.exit_code, cause.reason)


def test_a_cause_without_an_exit_code_is_no_trainer_error() -> None:
    with pytest.raises(ValueError, match="'PodRefused' is not a reason that a trainer can end with"):
        TrainerError("PodRefused", "not mine to say")


@pytest.mark.parametrize(
    ("error", "exit_code", "message"),
    [
        (Stopped(), 75, "stopped by SIGTERM; the next attempt goes on from resume/checkpoint-40"),
        (Stopped(by="Ctrl-C"), 75, "stopped by Ctrl-C; the next attempt goes on from resume/checkpoint-40"),
        (KeyError("wer"), 1, "KeyError: 'wer'"),
        (RuntimeError("line one\n  line two"), 1, "RuntimeError: line one line two"),
        (RuntimeError(), 1, "RuntimeError"),
        (
            MemoryError(),
            1,
            "out of memory: give the runtime more, or lower training.batchSize or training.maxLabelTokens",
        ),
    ],
    ids=["stopped", "interrupted", "unexpected", "unexpected with lines", "unexpected without text", "memory"],
)
def test_endings_without_a_cause_are_tried_again(
    error: BaseException, exit_code: int, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    ended = ending.ending_of_attempt(raising(error), reporter_at_step_40())
    assert (ended.exit_code, ended.result.reason, ended.result.message) == (exit_code, None, message)
    assert exit_code not in causes.FINAL_EXIT_CODES
    assert "Traceback" not in ending.termination_message(ended.result).decode()
    assert ("Traceback" in caplog.text) == (exit_code == 1)


def test_a_stop_before_the_first_checkpoint_says_so() -> None:
    ended = ending.ending_of_attempt(raising(Stopped()), Reporter())
    assert ended.result.message == "stopped by SIGTERM before the first checkpoint"


def largest_result(message: str) -> TrainingResult:
    """Return a result of which every field is as long as the API allows."""
    figures: dict[str, Any] = {"score": "99999.99", "wer": "99999.99", "normalizedWer": "99999.99", "cer": "99999.99"}
    return TrainingResult.model_validate(
        {
            "stage": "Preparing",
            "progress": {
                "step": 10**6,
                "totalSteps": 10**6,
                "percent": 100,
                "loss": "100000000.0000",
                "etaSeconds": 10**7,
            },
            "metric": {"name": "wer", "normalizer": "n" * 64},
            "data": {"trainClips": 10**8, "evalClips": 10**7, "droppedClips": 10**7, "split": "Fraction"},
            "ranOn": {"hardware": '"' * 256, "software": "\u4e2d" * 256, "precision": "Float"},
            "baseline": figures,
            "checkpoints": [
                {
                    "step": step,
                    "path": f"checkpoints/checkpoint-{step}",
                    "score": "99999.99",
                    "wer": "99999.99",
                    "sha256": "f" * 64,
                }
                for step in range(10**6 - 10, 10**6)
            ],
            "reason": "OutputNotWritable",
            "message": message,
            "result": {
                **figures,
                "differenceLow": "-99999.99",
                "differenceHigh": "-99999.99",
                "unseenTexts": {
                    "clips": 10**7,
                    "baseline": "99999.99",
                    "result": "99999.99",
                    "differenceLow": "-99999.99",
                    "differenceHigh": "-99999.99",
                },
            },
            "model": {"path": "model", "sha256": "f" * 64, "step": 10**6},
            "report": "report.html",
            "seconds": 10**7,
        }
    )


@pytest.mark.parametrize(
    "character", ["m", '"', "\u4e2d", "\U0001f600"], ids=["ascii", "escaped", "3 bytes", "4 bytes"]
)
def test_the_largest_result_fits_the_termination_message(character: str) -> None:
    shrunk = ending.termination_message(largest_result(character * 1024))
    assert len(shrunk) <= TERMINATION_MESSAGE_MAX_BYTES
    read = TrainingResult.model_validate_json(shrunk)
    assert read.message.startswith(character * 20)
    assert read.model is not None
    assert read.checkpoints[-1].step == 10**6 - 1


def test_the_largest_result_with_every_evaluation_fits_too() -> None:
    """The verdict, the figures and the model stay, whatever else there is no room for."""
    points = {"differenceLow": "-99999.99", "differenceHigh": "-99999.99"}
    scores = {"verdict": "NotMeasured", "reason": "\u4e2d" * 160, "clips": 10_000, "copies": 10_000, **points}
    evaluations = [{"name": f"{'n' * 31}{index}", "language": "portuguese", **scores} for index in range(9)]
    most = dict.fromkeys(("recordings", "seconds", "boundaries", "baselineFound", "resultFound"), 2_147_483_647)
    joined = {**most, "baselineSeconds": "9999.99", "resultSeconds": "9999.99"}
    evaluations.append({"name": "long-form", **scores, "recordings": joined})
    judged = {"accepted": False, "reason": "MayBeWorse", "message": "\U0001f600" * 1024}
    whole = TrainingResult.model_validate(
        {
            **largest_result("\U0001f600" * 1024).to_json_object(),
            "evaluations": evaluations,
            "acceptance": judged,
            "verdict": "NotShown",
        }
    )
    shrunk = ending.termination_message(whole)
    assert len(shrunk) <= TERMINATION_MESSAGE_MAX_BYTES
    read = TrainingResult.model_validate_json(shrunk)
    assert (read.result, read.model, read.verdict) == (whole.result, whole.model, "NotShown")
    assert read.acceptance is not None
    assert (read.acceptance.accepted, read.acceptance.reason) == (False, "MayBeWorse")
    assert read.message.startswith("\U0001f600" * 20)
    assert read.evaluations


def test_the_oldest_checkpoints_go_before_the_message_is_cut() -> None:
    whole = largest_result("m" * 500)
    shrunk = TrainingResult.model_validate_json(ending.termination_message(whole))
    assert shrunk.message == whole.message
    assert 0 < len(shrunk.checkpoints) < 10
    assert shrunk.checkpoints == whole.checkpoints[-len(shrunk.checkpoints) :]


def test_a_result_that_fits_is_left_as_it_is() -> None:
    whole = TrainingResult(message="città 中")
    assert (
        ending.termination_message(whole)
        == ending.render_result(whole)
        == ('{"stage":"Preparing","checkpoints":[],"message":"città 中"}'.encode())
    )


def test_a_long_message_is_cut_and_says_so() -> None:
    ended = ending.ending_of_attempt(raising(TrainerError("ConfigInvalid", "x" * 5000)), Reporter())
    assert len(ended.result.message) == 1024
    assert ended.result.message.endswith(" ...")


def test_the_message_is_written_and_a_missing_file_is_only_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ended = Ending(0, TrainingResult(message="done"))
    ending.write_termination_message(tmp_path / "log", ended)
    assert json.loads((tmp_path / "log").read_bytes())["message"] == "done"
    ending.write_termination_message(tmp_path / "no" / "log", ended)
    assert '"message":"done"' in caplog.text


@pytest.fixture
def stop() -> Any:
    """Return a listening request; the handlers before it come back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    made = StopRequest()
    made.listen()
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_stop_waits_for_the_work_at_hand(stop: StopRequest) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Stopped):
        stop.check()


@pytest.mark.parametrize(("grace", "to_write"), [(300, 290), (60, 50), (30, 20), (15, 10), (3, 2)])
def test_the_grace_period_leaves_time_for_the_ending(grace: int, to_write: float) -> None:
    assert stopping.seconds_to_write(grace) == to_write


def test_what_is_on_its_way_is_waited_for_as_long_as_the_grace_period_allows(
    stop: StopRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop.check_grace(3)
    os.kill(os.getpid(), signal.SIGTERM)
    asked_at = time.monotonic()
    stop.check_grace(None)
    monkeypatch.setattr(stopping.time, "monotonic", lambda: asked_at + 1.9)
    stop.check_grace(3)
    monkeypatch.setattr(stopping.time, "monotonic", lambda: asked_at + 2.1)
    with pytest.raises(Stopped, match="could not be written in the 3 s of graceSeconds"):
        stop.check_grace(3)


def test_a_stop_ends_what_is_interruptible_at_once(stop: StopRequest) -> None:
    went_on = []

    def work() -> None:
        with stop.interruptible():
            os.kill(os.getpid(), signal.SIGTERM)
            went_on.append(1)

    with pytest.raises(Stopped):
        work()
    assert went_on == []


def test_after_what_is_interruptible_a_stop_waits_again(stop: StopRequest) -> None:
    with stop.interruptible():
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Stopped):
        stop.check()


def test_nothing_interruptible_starts_after_a_stop(stop: StopRequest) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Stopped), stop.interruptible():
        pytest.fail("started")


def test_a_second_ctrl_c_does_not_wait(stop: StopRequest) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    with pytest.raises(Stopped) as raised:
        stop.check()
    assert raised.value.by == "Ctrl-C"


def test_the_first_request_is_the_one_that_is_told(stop: StopRequest) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Stopped) as raised:
        stop.check()
    assert raised.value.by == "SIGTERM"
