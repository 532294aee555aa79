"""The status as whole objects, which tests/golden has for some stories. And which news are worth a write."""

from typing import Any

import pytest

from golden_files import check_golden_objects
from ipu_scenarios import IPU_JOB, WORKER, as_ipu_job, worker
from run_objects import (
    BASELINE,
    DONE,
    NAME,
    NOT_ACCEPTED,
    SHA256,
    UID,
    complete,
    ended,
    failure,
    ipu_job,
    job,
    not_yet_over,
    pod,
    progress,
    run_object,
    running,
    unschedulable,
)
from run_scenarios import CREATED, JOB, POD, PREPARING, TRAINING, Moment, stopped, tell
from whisper_finetune_api.run import ReportedExport, ReportedModel, TrainingResult
from whisper_finetune_api.v1alpha1 import Condition, EvaluationScores, WhisperFineTuneStatus
from whisper_finetune_operator import next_steps
from whisper_finetune_operator.deciding import status
from whisper_finetune_operator.runs import Run

KEPT = [{"step": 40, "path": "resume/checkpoint-40", "sha256": SHA256}]
MEASURED = Moment(50, job(), (running(2, 5),), progress(10, baseline=BASELINE))
STORIES: dict[str, tuple[Moment, ...]] = {
    "status-training": (
        CREATED,
        JOB,
        POD,
        PREPARING,
        Moment(60, job(), (running(2, 5),), progress(40, baseline=BASELINE, checkpoints=KEPT)),
    ),
    "status-succeeded": (
        CREATED,
        JOB,
        PREPARING,
        TRAINING,
        Moment(100, job(complete(100)), (ended(2, 5, 99, 0, DONE),)),
    ),
    "status-interrupted-in-vain": stopped(3),
    "status-failed-in-the-second-attempt": (
        CREATED,
        JOB,
        MEASURED,
        Moment(90, job(), (ended(2, 5, 65, 1),)),
        Moment(
            200,
            job(),
            (ended(2, 5, 65, 1), ended(90, 95, 195, 65, failure("TrainingDiverged", "the loss of step 41 is nan"))),
        ),
    ),
}


def last_status(*moments: Moment) -> WhisperFineTuneStatus:
    return tell(moments)[-1][1].status


@pytest.mark.parametrize("golden", STORIES)
def test_the_status_is_the_golden_one(golden: str) -> None:
    check_golden_objects(f"{golden}.yaml", last_status(*STORIES[golden]).to_json_object())


def writes(*moments: Moment) -> list[bool]:
    return [decision.changed for _, decision in tell(moments)]


def training(seconds: float, step: int, *, percent: int | None = None, **more: Any) -> Moment:
    report = progress(step, **more)
    if percent is not None and report.progress:
        report = report.model_copy(update={"progress": report.progress.model_copy(update={"percent": percent})})
    return Moment(seconds, job(), (running(2, 5),), report)


def evaluating(seconds: float, clips: int, step: int = 0) -> Moment:
    moment = training(seconds, step, stage="Evaluating")
    if moment.report and moment.report.progress:
        counts = {"evaluated_clips": clips, "clips_to_evaluate": 1050, "loss": None}
        counted = moment.report.progress.model_copy(update=counts)
        return moment._replace(report=moment.report.model_copy(update={"progress": counted}))
    raise AssertionError(moment)


@pytest.mark.parametrize(
    ("news", "written"),
    [
        pytest.param(training(75, 40), False, id="nothing"),
        pytest.param(training(75, 41, percent=40), False, id="a step of the same percent"),
        pytest.param(training(75, 41), True, id="a percent"),
        pytest.param(training(75, 39), False, id="older than what stands there"),
        pytest.param(
            Moment(75, job(), (ended(2, 5, 70, 1), running(72, 73)), progress(30)), True, id="less of the next pod"
        ),
        pytest.param(training(75, 40, stage="Evaluating"), True, id="a stage"),
        pytest.param(evaluating(75, 0, 40), True, id="an evaluation"),
        pytest.param(training(75, 40, baseline=BASELINE), True, id="the baseline"),
        pytest.param(training(75, 40, checkpoints=KEPT), True, id="a checkpoint"),
    ],
)
def test_progress_is_written_only_with_news(news: Moment, written: bool) -> None:  # noqa: FBT001 (a table)
    assert writes(CREATED, JOB, PREPARING, training(60, 40), news)[-1] is written


def test_how_far_an_evaluation_is_shows_and_is_written_once_a_percent() -> None:
    story = (CREATED, JOB, PREPARING, evaluating(60, 0), evaluating(75, 10), evaluating(90, 11), evaluating(105, 630))
    assert writes(*story)[3:] == [True, False, True, True]
    progress = last_status(*story).progress
    assert progress is not None
    assert (progress.summary, progress.percent) == ("630/1050 clips", 0)
    trained = last_status(*story, training(120, 40)).progress
    assert trained is not None
    assert (trained.summary, trained.evaluated_clips) == ("40/100 steps", None)


def on_validation(moment: Moment) -> Moment:
    assert moment.report is not None
    assert moment.report.progress is not None
    counted = moment.report.progress.model_copy(update={"evaluated_part": "Validation"})
    return moment._replace(report=moment.report.model_copy(update={"progress": counted}))


def test_an_evaluation_by_which_the_best_model_is_chosen_is_called_so() -> None:
    story = (CREATED, JOB, PREPARING, evaluating(60, 0), on_validation(evaluating(75, 0)))
    assert writes(*story)[3:] == [True, True]
    shown = last_status(*story).progress
    assert shown is not None
    assert (shown.summary, shown.evaluated_part) == ("0/1050 validation clips", "Validation")
    trained = last_status(*story, training(120, 40)).progress
    assert trained is not None
    assert (trained.summary, trained.evaluated_part) == ("40/100 steps", None)


def test_an_evaluation_of_further_data_is_called_by_its_name_and_its_scores_show_at_once() -> None:
    def on_radio(moment: Moment, **told: Any) -> Moment:
        assert moment.report is not None
        assert moment.report.progress is not None
        counted = moment.report.progress.model_copy(update={"evaluated_name": "radio"})
        return moment._replace(report=moment.report.model_copy(update={"progress": counted, **told}))

    scores = (EvaluationScores(name="radio", clips=500, baseline="30.00"),)
    story = (CREATED, JOB, PREPARING, evaluating(60, 0), on_radio(evaluating(75, 0)))
    told = (*story, on_radio(evaluating(90, 0), evaluations=scores))
    assert writes(*told)[3:] == [True, True, True]
    shown = last_status(*story).progress
    assert shown is not None
    assert shown.summary == "0/1050 clips of radio"
    assert last_status(*told, training(120, 40)).evaluations == scores
    trained = last_status(*told, training(120, 40)).progress
    assert trained is not None
    assert (trained.summary, trained.evaluated_name) == ("40/100 steps", None)


def test_the_mixture_that_is_taken_shows_at_once_and_stays() -> None:
    mixed = {"factor": "0.75", "score": "18.00"}
    story = (CREATED, JOB, PREPARING, training(60, 40), training(61, 40, mixing=mixed))
    assert writes(*story)[3:] == [True, True]
    told = last_status(*story, training(90, 41)).mixing
    assert told is not None
    assert told.to_json_object() == mixed


def test_how_the_best_model_is_chosen_shows_and_stays() -> None:
    choice = {"clips": 40, "baseline": "30.00"}
    better = {**choice, "best": "21.50", "step": 40}
    story = (CREATED, JOB, PREPARING, training(60, 40, validation=choice), training(75, 40, validation=better))
    assert writes(*story)[3:] == [True, True]
    told = last_status(*story, training(90, 41)).validation
    assert told is not None
    assert told.to_json_object() == better


def test_the_verdict_is_the_trainers_and_an_older_one_gives_none() -> None:
    def verdict_of(last_words: dict[str, Any]) -> object:
        end = Moment(100, job(complete(100)), (ended(2, 5, 99, 0, last_words),))
        return last_status(CREATED, JOB, PREPARING, end).verdict

    assert verdict_of({**DONE, "verdict": "Worse"}) == "Worse"
    assert verdict_of({**DONE, "verdict": "Mixed"}) == "Mixed"
    # A word that a later trainer may say is left out, and the result stays.
    assert verdict_of({**DONE, "verdict": "Splendid"}) is None
    assert verdict_of(DONE) is None


def test_a_model_that_is_not_accepted_shows_in_a_condition_and_in_the_column_of_reasons() -> None:
    def accepted_of(last_words: dict[str, Any]) -> tuple[str | None, Condition | None]:
        end = Moment(100, job(complete(100)), (ended(2, 5, 99, 0, last_words),))
        done = last_status(CREATED, JOB, PREPARING, end)
        assert done.state == "Succeeded"
        return done.reason, next_steps.condition_of(done.conditions, "Accepted")

    assert accepted_of(DONE) == (None, None)
    reason, refused = accepted_of(NOT_ACCEPTED)
    assert refused is not None
    assert (reason, refused.status, refused.reason) == ("NotAccepted", "False", "MayBeWorse")
    assert refused.message.startswith("held-out may be 0.40 points worse")
    held = {"accepted": True, "reason": "Accepted", "message": "what spec.acceptance asks for holds"}
    reason, accepted = accepted_of({**DONE, "acceptance": held})
    assert accepted is not None
    assert (reason, accepted.status, accepted.reason) == (None, "True", "Accepted")
    # A word that a later trainer may say is left out, and what it means stays.
    _, said_otherwise = accepted_of({**DONE, "acceptance": {**NOT_ACCEPTED["acceptance"], "reason": "TooSlow"}})
    assert said_otherwise is not None
    assert (said_otherwise.status, said_otherwise.reason) == ("False", "NotAccepted")


def test_a_result_leaves_no_evaluation_under_way() -> None:
    reported = evaluating(60, 1050, 100).report
    assert reported is not None
    assert reported.progress is not None
    last_words = {**DONE, "progress": reported.progress.to_json_object()}
    done = last_status(CREATED, JOB, PREPARING, Moment(100, job(), (ended(2, 5, 99, 0, last_words),)))
    assert done.progress is not None
    assert (done.progress.summary, done.progress.clips_to_evaluate) == ("100/100 steps", None)


def test_an_attempt_that_ended_leaves_no_evaluation_under_way() -> None:
    moment = evaluating(60, 630, 40)
    assert moment.report is not None
    assert moment.report.progress is not None
    last_words = {**failure("DataInvalid", "broken"), "progress": moment.report.progress.to_json_object()}
    for end in (ended(2, 5, 99, 65, last_words), ended(2, 5, 99, 1), ended(2, 5, 99, 75, last_words)):
        left = last_status(CREATED, JOB, PREPARING, moment, Moment(100, job(), (end,), moment.report))
        assert left.state in ("Pending", "Failed")
        assert left.progress is not None
        assert (left.progress.step, left.progress.summary) == (40, "40/100 steps")
        assert (left.progress.evaluated_clips, left.progress.clips_to_evaluate) == (None, None)


def test_an_operator_that_has_just_started_still_shows_the_evaluation() -> None:
    progress = last_status(CREATED, JOB, PREPARING, evaluating(60, 630, 40), PREPARING._replace(seconds=65)).progress
    assert progress is not None
    assert progress.summary == "630/1050 clips"


def test_numbers_of_the_scheduler_are_no_news() -> None:
    def moment(seconds: float, nodes: int, lacks: str = "Insufficient cpu") -> Moment:
        return Moment(seconds, job(), (unschedulable(2, f"0/{nodes} nodes are available: {nodes} {lacks}."),))

    assert writes(CREATED, JOB, moment(9, 12), moment(40, 13), moment(70, 12))[2:] == [True, False, False]
    assert writes(CREATED, JOB, moment(9, 12), moment(40, 12, "Insufficient memory"))[2:] == [True, True]


def test_the_age_of_progress_is_written_every_five_minutes_while_steps_change() -> None:
    def moment(seconds: float, step: int, changed: float) -> Moment:
        return training(seconds, step, percent=40)._replace(changed=changed)

    story = (CREATED, JOB, PREPARING, training(60, 40), moment(75, 41, 75), moment(359, 42, 358), moment(361, 43, 360))
    assert writes(*story)[4:] == [False, False, True]
    progress = last_status(*story).progress
    assert progress is not None
    assert (progress.step, progress.update_time) == (43, "2026-11-22T10:06:00Z")
    assert writes(*story, moment(90000, 43, 360))[-1] is False


def test_the_age_of_progress_follows_what_else_a_report_tells() -> None:
    evaluating = training(60, 40, stage="Evaluating")
    later = evaluating._replace(seconds=400, changed=390)
    assert writes(CREATED, JOB, PREPARING, evaluating, later)[-1] is True
    progress = last_status(CREATED, JOB, PREPARING, evaluating, later).progress
    assert progress is not None
    assert progress.update_time == "2026-11-22T10:06:30Z"


def test_a_run_costs_four_writes_of_status_from_creation_to_its_result() -> None:
    calm = (
        CREATED,
        Moment(1.5, job(status={})),
        JOB,
        POD,
        PREPARING,
        TRAINING,
        Moment(100, job(), (ended(2, 5, 99, 0, DONE),)),
        Moment(101, job(complete(100)), (ended(2, 5, 99, 0, DONE),)),
        Moment(102, job(complete(100)), (ended(2, 5, 99, 0, DONE),)),
    )
    assert writes(*calm) == [True, False, False, False, True, True, True, False, False]


def test_a_new_pod_is_told_when_it_starts_or_has_not_started_for_a_while() -> None:
    def waits(seconds: float) -> Moment:
        return Moment(seconds, job(), (pod(2),))

    story = (CREATED, JOB, waits(3), waits(6.9))
    assert writes(*story, PREPARING) == [True, False, False, False, True]
    assert last_status(*story).pod_name is None
    assert [decision.requeue_seconds for _, decision in tell(story)[2:]] == [4, pytest.approx(0.1)]
    assert writes(*story, waits(7), waits(8), PREPARING)[4:] == [True, False, True]
    assert last_status(*story, waits(7)).pod_name == pod(2)["metadata"]["name"]


@pytest.mark.parametrize(
    "first",
    [
        Moment(3, job(), (pod(60),)),
        Moment(3, job(), (unschedulable(2, "0/3 nodes are available"),)),
        Moment(3, job(), (pod(2),), generation=2),
        Moment(5, job(), (ended(2, 3, 4, 65, 1), pod(4, name="next"))),
    ],
    ids=["a clock is wrong", "no node takes it", "the spec changed", "another one ended"],
)
def test_a_new_pod_is_told_at_once_with_what_else_there_is_to_tell(first: Moment) -> None:
    assert writes(CREATED, JOB, first)[2:] == [True]


def test_a_new_pod_that_no_controller_replaces_is_told_at_once() -> None:
    new = as_ipu_job(3, ipu_job(), (worker(pod(3, job_uid="ipu-job-1")),))
    assert writes(as_ipu_job(1), IPU_JOB, new)[2:] == [True]


def test_percent_is_a_hundred_only_with_a_result() -> None:
    nearly = last_status(CREATED, JOB, PREPARING, training(60, 100))
    assert nearly.progress is not None
    assert nearly.progress.percent == 99
    done = last_status(CREATED, JOB, PREPARING, Moment(100, job(), (ended(2, 5, 99, 0, {**DONE, "progress": None}),)))
    assert done.progress is not None
    assert (done.progress.step, done.progress.percent) == (100, 100)


def test_what_a_failed_attempt_reached_stays_when_the_next_knows_less() -> None:
    status = last_status(
        CREATED,
        JOB,
        training(50, 40, baseline=BASELINE, checkpoints=KEPT),
        Moment(90, job(), (ended(2, 5, 65, 1),)),
        Moment(95, job(), (running(80, 85),), progress(0, stage="Preparing")),
    )
    assert status.baseline is not None
    assert [checkpoint.step for checkpoint in status.checkpoints] == [40]
    assert (status.progress and status.progress.percent, status.running_seconds) == (0, 60)
    assert status.start_time == "2026-11-22T10:00:05Z"


@pytest.mark.parametrize(("beside", "says"), [(None, "; the next attempt starts about"), ("istio-proxy", "")])
def test_the_next_attempt_has_a_time_where_nothing_else_keeps_the_pod(beside: str | None, says: str) -> None:
    pods = (not_yet_over(ended(2, 5, 65, 1), beside=beside),)
    told = next_steps.condition_of(last_status(CREATED, JOB, Moment(70, job(), pods)).conditions, "Succeeded")
    assert told is not None
    assert told.message.partition("retries left: 2")[2].startswith(says)
    assert ("about" in told.message) == bool(says)


def test_the_last_words_hold_while_another_container_runs_on() -> None:
    asked = progress(52, checkpoints=KEPT)
    newest = {"step": 55, "path": "resume/checkpoint-55"}
    says = {**failure(None, "stopped"), "checkpoints": [*KEPT, newest], "progress": None}
    pods = (not_yet_over(ended(2, 5, 99, 75, says), beside="istio-proxy"),)
    before = Moment(90, job(), (running(2, 5),), asked)
    status = last_status(CREATED, JOB, before, Moment(100, job(), pods, asked), Moment(105, job(), pods, asked))
    assert [checkpoint.step for checkpoint in status.checkpoints] == [40, 55]


@pytest.mark.parametrize(("heard", "shown"), [(205, 50), (60, 80)], ids=["the next pod", "the same pod"])
def test_progress_goes_back_with_the_pod_alone_though_all_pods_of_an_ipu_job_have_one_name(
    heard: float, shown: int
) -> None:
    first, second = WORKER, worker(running(200, 201, job_uid="ipu-job-2"))
    told = as_ipu_job(50, ipu_job(), (first,), progress(80))
    later = as_ipu_job(heard, ipu_job(), (second if heard > 200 else first,), progress(50))
    status = last_status(as_ipu_job(1), IPU_JOB, told, later)
    assert status.progress is not None
    assert status.progress.step == shown


def test_a_good_end_leaves_the_checkpoints_that_it_names() -> None:
    done = Moment(100, job(complete(100)), (ended(2, 5, 99, 0, {**DONE, "checkpoints": []}),))
    status = last_status(CREATED, JOB, training(50, 40, checkpoints=KEPT), done)
    assert status.checkpoints == ()


def test_a_bad_end_leaves_its_baseline_and_its_checkpoints() -> None:
    status = last_status(CREATED, JOB, Moment(90, job(), (ended(2, 5, 65, 73, failure("OutputNotWritable", "full")),)))
    assert status.baseline is not None
    assert status.checkpoints[0].uri == f"pvc://speech/runs/{NAME}-{UID[:8]}/checkpoints/checkpoint-100"
    assert (status.result, status.model, status.completion_time) == (None, None, "2026-11-22T10:01:05Z")


def test_times_of_conditions_change_with_their_status_alone() -> None:
    def times(status: WhisperFineTuneStatus) -> dict[str, str]:
        return {condition.type: condition.last_transition_time for condition in status.conditions}

    first, later = last_status(CREATED), last_status(CREATED, JOB, POD, PREPARING)
    assert times(later) == {**times(first), "Running": "2026-11-22T10:00:10Z"}


def test_a_finished_run_follows_in_observed_generation_alone() -> None:
    done = last_status(*STORIES["status-succeeded"])
    later = last_status(*STORIES["status-succeeded"], Moment(300, spec={"suspend": True}, generation=2))
    observed = tuple(condition.model_copy(update={"observed_generation": 2}) for condition in done.conditions)
    assert later == done.model_copy(update={"observed_generation": 2, "conditions": observed})


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        ("pvc://speech/runs/", f"pvc://speech/runs/{NAME}-7a0c9a4e"),
        ("pvc://speech", f"pvc://speech/{NAME}-7a0c9a4e"),
        ("s3://models/it", f"s3://models/it/{NAME}-7a0c9a4e"),
        ("hf://team/whisper-it", "hf://team/whisper-it"),
    ],
)
def test_everything_of_a_run_lies_in_its_folder(uri: str, folder: str) -> None:
    assert Run.from_object(run_object({"output.uri": uri})).written_folder() == folder


@pytest.mark.parametrize(
    ("reported", "folder"),
    [
        (None, f"{NAME}-7a0c9a4e"),
        (f"{NAME}-01234567", f"{NAME}-01234567"),
        # A trainer may name the folder of no other run.
        ("another-01234567", f"{NAME}-7a0c9a4e"),
    ],
)
def test_a_result_that_was_taken_over_lies_in_the_folder_of_an_earlier_run(reported: str | None, folder: str) -> None:
    run = Run.from_object(run_object({"output.uri": "pvc://speech/runs"}))
    assert run.written_folder(reported) == f"pvc://speech/runs/{folder}"


def test_a_status_names_the_folder_from_which_a_result_was_taken_over() -> None:
    ending = {**DONE, "folder": f"{NAME}-01234567"}
    over = Moment(100, job(complete(100)), (ended(2, 5, 99, 0, ending),))
    done = tell((CREATED, JOB, PREPARING, TRAINING, over))[-1][1].status
    assert done.model is not None
    assert done.model.uri.endswith(f"/{NAME}-01234567/model")
    assert {each.uri.rsplit("/", 3)[1] for each in done.checkpoints} <= {f"{NAME}-01234567"}
    succeeded = next(each for each in done.conditions if each.type == "Succeeded")
    assert "taken over from an earlier run of the same spec, data and model" in succeeded.message


def test_a_repositorys_model_lies_at_its_root() -> None:
    ending = TrainingResult(model=ReportedModel(path="model", sha256="ab" * 32, step=1))
    found = status.written_model(ending, "hf://team/whisper-it")
    assert found is not None
    assert found.uri == "hf://team/whisper-it"


@pytest.mark.parametrize("folder", ["pvc://speech/runs/it-7a0c9a4e", "hf://team/whisper-it"])
def test_an_export_has_its_address_and_a_refused_one_has_none(folder: str) -> None:
    kept = ReportedExport(name="CTranslate2", path="exports/ctranslate2", sha256="ab" * 32, bytes=145, score="12.00")
    refused = ReportedExport(name="CTranslate2Int8", refused="its engine died (exit code -4)")
    assert kept.written_below(folder).to_json_object() == {
        "name": "CTranslate2",
        "uri": f"{folder}/exports/ctranslate2",
        "sha256": "ab" * 32,
        "bytes": 145,
        "score": "12.00",
    }
    assert refused.written_below(folder).to_json_object() == {
        "name": "CTranslate2Int8",
        "refused": "its engine died (exit code -4)",
    }


def test_messages_are_one_printable_line_that_the_api_takes() -> None:
    assert next_steps.condition_message("a\tb\n\x1b[31mred\x00 \u2603") == "a b [31mred \u2603"
    assert len(next_steps.condition_message("word " * 1000)) == 1024
