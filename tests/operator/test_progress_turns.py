"""Turns to ask for progress: silent pods are asked less and less often, and each namespace has a share."""

from whisper_finetune_operator.progress_client import LAST_WAIT_SECONDS, MANY, ProgressTurns, Trainer


def trainers(namespace: str, count: int) -> list[Trainer]:
    names = [f"{namespace}-{number}" for number in range(count)]
    return [Trainer(f"run-{name}", name, name, namespace, "10.0.0.1", 8080) for name in names]


def taken(turns: ProgressTurns) -> list[Trainer]:
    """Take everybody who may be asked at once."""
    return list(iter(turns.take, None))


def test_one_namespace_leaves_places_free_and_two_share() -> None:
    turns = ProgressTurns(every_seconds=15, parallel=16)
    turns.note_running(trainers("crowd", 160), 0.0)
    assert len(taken(turns)) == 12
    turns.note_running([*trainers("crowd", 160), *trainers("small", 1), *trainers("other", 30)], 15.0)
    assert [each.namespace for each in taken(turns)] == ["small", "other", "other", "other"]


def test_who_waits_keeps_its_place_and_is_not_there_twice() -> None:
    turns = ProgressTurns(every_seconds=15, parallel=4)
    crowd = trainers("crowd", 6)
    turns.note_running(crowd, 0.0)
    first = taken(turns)
    turns.note_running(crowd, 15.0)
    for each in first:
        turns.done(each, 20.0, faults=0, fraction=0.0)
    assert [each.pod_uid for each in taken(turns)] == ["crowd-3", "crowd-4", "crowd-5"]
    assert taken(turns) == []


def test_silent_pod_is_asked_ever_more_seldom_until_it_answers() -> None:
    assert asked_at(faults=[1] * 12)[:8] == [0, 15, 30, 45, 75, 135, 255, 495]
    gaps = asked_at(faults=[1] * 12)
    assert gaps[-1] - gaps[-2] == LAST_WAIT_SECONDS
    assert asked_at(faults=[1, 1, 1, 1, 1, 0, 1, 1])[5:] == [135, 150, 165]


def test_pod_that_is_work_to_read_is_asked_seldom_at_once() -> None:
    assert asked_at(faults=[MANY, MANY]) == [0, LAST_WAIT_SECONDS]


def asked_at(faults: list[int]) -> list[float]:
    """Return when a trainer is asked that answers so, in rounds of 15 seconds."""
    turns = ProgressTurns(every_seconds=15, parallel=4)
    moments: list[float] = []
    now = 0.0
    while len(moments) < len(faults):
        turns.note_running(trainers("a", 1), now)
        for each in taken(turns):
            turns.done(each, now, faults=faults[len(moments)], fraction=0.0)
            moments.append(now)
        now += 15.0
    return moments


def test_pod_that_is_gone_is_forgotten() -> None:
    turns = ProgressTurns(every_seconds=15, parallel=4)
    turns.note_running(trainers("a", 1), 0.0)
    turns.done(taken(turns)[0], 0.0, faults=MANY, fraction=0.0)
    turns.note_running([], 15.0)
    turns.note_running(trainers("a", 1), 30.0)
    assert len(taken(turns)) == 1
