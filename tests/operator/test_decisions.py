"""Decisions: what each story of a run must lead to, and what must be true in all of them."""

import dataclasses
import functools
import itertools
import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import ipu_scenarios
import run_scenarios
from kstatus import KSTATUS, kstatus
from run_objects import DONE, RUNTIMES, at, complete, ended, job, run_object, running
from run_scenarios import CREATED, QUEUE, TRAINING, Moment, Scenario, queued, tell, tell_once
from whisper_finetune_api.v1alpha1 import WhisperFineTuneStatus
from whisper_finetune_operator import next_steps
from whisper_finetune_operator.deciding import decisions
from whisper_finetune_operator.deciding.decisions import Decision
from whisper_finetune_operator.next_steps import Action
from whisper_finetune_operator.partitions.partition_leases import PARTITION_ID_ANNOTATION
from whisper_finetune_operator.runs import Run
from whisper_finetune_operator.workloads import pods
from whisper_finetune_operator.workloads.kinds import KINDS
from whisper_finetune_operator.world import Refusal, World


def described(action: Action) -> str:
    match action:
        case next_steps.CreateWorkload(_, check_pods_first):
            words = "create again" if check_pods_first else "create"
        case next_steps.AllowRetries(_, _, _, backoff_limit):
            words = f"allow {backoff_limit}"
        case next_steps.MoveToQueue(_, _, _, queue):
            words = f"move to {queue}"
        case next_steps.KeepFor(_, _, _, seconds):
            words = f"keep for {seconds}"
        case next_steps.TakePartition(lease):
            words = f"take {lease['metadata']['annotations'][PARTITION_ID_ANNOTATION]}"
        case next_steps.GiveBackPartition(name):
            words = f"give back {name}"
        case _:
            words = _NAMES[type(action)]
    return words


_NAMES: dict[type[Action], str] = {
    next_steps.StartWorkload: "start",
    next_steps.DeleteWorkload: "delete",
    next_steps.EndWorkload: "end",
    next_steps.ReadRefusal: "look",
    next_steps.ReadObstacle: "look at the pod",
    next_steps.ReadQueue: "ask Kueue",
}


def summary(status: WhisperFineTuneStatus) -> dict[str, Any]:
    return next((each.to_json_object() for each in status.conditions if each.type == "Succeeded"), {})


SCENARIOS = {**run_scenarios.SCENARIOS, **ipu_scenarios.SCENARIOS}
every_scenario = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))


@every_scenario
def test_a_story_comes_to_its_end(scenario: Scenario) -> None:
    _, decision = tell_once(scenario)[-1]
    told = summary(decision.status)
    assert (decision.status.state or "", told.get("reason", "")) == (scenario.state, scenario.reason)
    assert scenario.says in told.get("message", "")
    assert tuple(map(described, decision.actions)) == scenario.actions
    assert (decision.requeue_seconds is not None) == scenario.rechecks


def again(world: World, decision: Decision, hours: int = 0) -> Decision:
    """Decide about the same world once more, starting from the status that was decided."""
    run = dataclasses.replace(world.run, status=decision.status.to_json_object())
    return decisions.decide(dataclasses.replace(world, run=run, now=world.now + timedelta(hours=hours)), RUNTIMES)


@every_scenario
def test_deciding_again_changes_nothing(scenario: Scenario) -> None:
    for world, decision in tell_once(scenario):
        repeated = again(world, decision)
        assert repeated.status == decision.status
        assert not repeated.changed


@every_scenario
def test_each_object_is_read_once_in_a_decision(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    read: Counter[str] = Counter()

    def counted(reader: Callable[..., Any]) -> Callable[..., Any]:
        def read_and_count(found: Any, *others: Any) -> Any:
            read[found["metadata"]["name"] if isinstance(found, dict) else found] += 1
            return reader(found, *others)

        return read_and_count

    shown = tell(scenario.moments)[-1][0]
    monkeypatch.setattr(pods, "read_pod", counted(pods.read_pod))
    monkeypatch.setattr(pods, "read_last_words", counted(pods.read_last_words))
    for name, kind in KINDS.items():
        monkeypatch.setitem(KINDS, name, dataclasses.replace(kind, read=counted(kind.read)))
    decisions.decide(shown, RUNTIMES)
    assert {count for _, count in read.most_common()} <= {1}


@every_scenario
def test_time_alone_changes_nothing_that_was_not_announced(scenario: Scenario) -> None:
    for world, decision in tell_once(scenario):
        if decision.requeue_seconds is None:
            assert not again(world, decision, hours=5).changed


@every_scenario
def test_conditions_are_those_of_the_state(scenario: Scenario) -> None:
    for world, decision in tell_once(scenario):
        if world.run.deletion:
            assert not decision.changed
            assert all(isinstance(action, next_steps.GiveBackPartition) for action in decision.actions)
            continue
        check_conditions(world.run, decision.status)


def check_conditions(run: Run, status: WhisperFineTuneStatus) -> None:
    """Check what holds for every status: the table of states, kstatus' reading, and that the API server takes it."""
    statuses = {condition.type: condition.status for condition in status.conditions}
    assert status.state is not None
    assert statuses["Succeeded"] == {"Succeeded": "True", "Failed": "False"}.get(status.state, "Unknown")
    runs = status.state in ("Running", "Preparing", "Evaluating", "Training")
    assert statuses["Running"] == ("Unknown" if status.state == "Unknown" else str(runs))
    assert statuses["Finished"] == str(status.state in ("Succeeded", "Failed"))
    assert statuses["Suspended"] == str(status.state == "Suspended")
    assert status.state != "Queued" or statuses["Admitted"] == "False"
    assert {condition.observed_generation for condition in status.conditions} == {run.generation}
    metadata = {"generation": run.generation}
    assert kstatus({"metadata": metadata, "status": status.to_json_object()}) == KSTATUS[status.state]
    assert WhisperFineTuneStatus.model_validate(status.to_json_object()) == status


ADMITTED: dict[str, tuple[tuple[Moment, ...], str | None]] = {
    "neither a queue nor a pool": ((CREATED, TRAINING), None),
    "in a queue": ((Moment(1, labels=QUEUE), Moment(2, queued(spec__suspend=True), labels=QUEUE)), "False"),
    "admitted": ((Moment(1, labels=QUEUE), Moment(60, queued(), TRAINING.pods, labels=QUEUE)), "True"),
    "being taken back": (
        (
            Moment(1, labels=QUEUE),
            Moment(60, queued(), TRAINING.pods, labels=QUEUE),
            Moment(70, queued(spec__suspend=True), (running(2, 5, deleted=True),), labels=QUEUE),
        ),
        "False",
    ),
    "suspended by its user": (
        (
            Moment(1, labels=QUEUE),
            Moment(60, queued(), TRAINING.pods, labels=QUEUE),
            Moment(70, spec={"suspend": True}, labels=QUEUE, generation=2),
        ),
        "False",
    ),
    "the label of a queue came after its Job": ((CREATED, Moment(60, job(), TRAINING.pods, labels=QUEUE)), None),
    "finished": (
        (
            Moment(1, labels=QUEUE),
            Moment(60, queued(), TRAINING.pods, labels=QUEUE),
            Moment(100, queued(complete(100)), (ended(2, 5, 99, 0, DONE),), labels=QUEUE),
            Moment(200, labels=QUEUE),
        ),
        "True",
    ),
    "a partition": ((ipu_scenarios.MADE, ipu_scenarios.HAS_IT, ipu_scenarios.STARTED), "True"),
    "a partition that went back": (
        (
            ipu_scenarios.MADE,
            ipu_scenarios.HAS_IT,
            ipu_scenarios.STARTED,
            ipu_scenarios.on_pool(90, spec={"suspend": True}, generation=2),
        ),
        "False",
    ),
}


@pytest.mark.parametrize("story", ADMITTED)
def test_admitted_is_true_for_as_long_as_a_queue_or_pool_lets_the_run_go_on(story: str) -> None:
    moments, expected = ADMITTED[story]
    status = tell(moments)[-1][1].status
    assert {each.type: each.status for each in status.conditions}.get("Admitted") == expected


def test_a_new_object_is_in_progress_before_the_operator_has_seen_it() -> None:
    assert kstatus(run_object()) == "InProgress"


@pytest.mark.parametrize(
    ("status", "seconds", "refused", "claims", "asks"),
    [
        ({}, 5, False, True, False),
        ({}, 45, False, True, True),
        ({}, 5, True, False, False),
        ({"jobName": "lost"}, 5, False, False, True),
    ],
    ids=["a new run", "one that is not new any more", "one whose Job is refused", "one that had a Job"],
)
def test_the_first_job_comes_before_the_status_and_asks_for_pods_where_there_may_be_some(
    status: dict[str, Any],
    seconds: float,
    refused: bool,  # noqa: FBT001 (a parameter of the test)
    claims: bool,  # noqa: FBT001
    asks: bool,  # noqa: FBT001
) -> None:
    refusal = Refusal("exceeded quota", at(seconds)) if refused else None
    decision = decisions.decide(
        World(Run.from_object(run_object(status=status)), None, (), None, refusal, at(seconds)), RUNTIMES
    )
    (create,) = decision.actions
    assert isinstance(create, next_steps.CreateWorkload)
    assert (create.claims, decision.claim is not None, create.check_pods_first) == (claims, claims, asks)


@functools.cache
def _shown(field: str) -> list[Any]:
    """Return each different Job, or set of pods, that some story shows."""
    shown: dict[str, Any] = {}
    for scenario in SCENARIOS.values():
        for moment in scenario.moments:
            value = getattr(moment, field)
            shown.setdefault(repr(value), value)
    return list(shown.values())


def _left() -> list[dict[str, Any]]:
    """Return one status of each state and reason that some story leaves, and none at all."""
    statuses: dict[str, dict[str, Any]] = {"": {}}
    for scenario in SCENARIOS.values():
        for _, decision in tell_once(scenario):
            told = decision.status.to_json_object()
            statuses.setdefault(f"{told.get('state')}{summary(decision.status).get('reason')}", told)
    return list(statuses.values())


@pytest.mark.parametrize("status", _left(), ids=lambda status: f"{status.get('state', 'new')}")
def test_whatever_meets_a_run_is_safe(status: dict[str, Any]) -> None:
    """Jobs and pods of all stories, also where no story brings them together."""
    over = status.get("state") in ("Succeeded", "Failed")
    meetings = list(itertools.product(_shown("job"), _shown("pods"), (False, True)))
    chosen = random.Random(status.get("state")).sample(meetings, 150)  # noqa: S311 (no secret)
    for workload, shown, suspend in chosen:
        run = Run.from_object(run_object({"suspend": suspend}, status=status, generation=3))
        world = World(run, workload, shown, None, None, at(4000))
        decision = decisions.decide(world, RUNTIMES)
        check_conditions(run, decision.status)
        assert again(world, decision).status == decision.status
        kinds = {type(action) for action in decision.actions}
        if next_steps.CreateWorkload in kinds:
            assert workload is None
            assert all(pods.read_pod(pod).ended for pod in shown)
            assert not over
            assert not suspend
        if over:
            assert decision.status.state == status["state"]
        if decision.status.state == "Failed" and not over:
            assert all(pods.read_pod(pod).ended for pod in shown)
            assert workload is None or next_steps.EndWorkload not in kinds
