"""What the audit log and the runs of a disturbed cluster say, and which of it must not be."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from chaos import audit, stories, verdict
from chaos.audit import PodLife
from chaos.verdict import Aftermath

_NOTHING = Aftermath((), (), (), frozenset(), ())


def life(uid: str, begin: float, end: float | None, **fields: Any) -> PodLife:
    return PodLife(
        **{"uid": uid, "name": uid, "run_uid": "run", "partition": None, "begin": begin, "end": end, **fields}
    )


def event(second: int, verb: str, pod: dict[str, Any], subresource: str | None = None, code: int = 200) -> str:
    reference = {"resource": "pods", **({"subresource": subresource} if subresource else {})}
    return json.dumps(
        {
            "verb": verb,
            "objectRef": reference,
            "responseStatus": {"code": code},
            "responseObject": pod,
            "requestReceivedTimestamp": f"2026-12-01T10:00:{second:02d}.000000Z",
            "stageTimestamp": f"2026-12-01T10:00:{second:02d}.500000Z",
        }
    )


def pod(uid: str, phase: str = "Pending", **metadata: Any) -> dict[str, Any]:
    labels = {"whisperfinetune.dev/run-uid": "run", "whisperfinetune.dev/partition": "p1"}
    head = {"uid": uid, "name": uid, "labels": labels, "ownerReferences": [{"uid": "job"}], **metadata}
    return {"metadata": head, "status": {"phase": phase}}


def test_a_pod_lives_from_the_answer_to_its_creation_to_the_request_that_ends_it() -> None:
    log = [
        event(1, "create", pod("a"), code=201),
        event(2, "create", pod("a"), subresource="binding", code=201),
        event(3, "patch", pod("a", "Running"), subresource="status"),
        event(4, "patch", pod("a", "Succeeded"), subresource="status"),
        event(9, "delete", pod("a", "Succeeded")),
        event(5, "create", pod("b"), code=201),
        event(6, "create", pod("refused"), code=409),
        # It ends by itself in its own time, and then it is gone.
        event(7, "delete", pod("b", "Running", deletionGracePeriodSeconds=30)),
        event(8, "delete", pod("b", "Running", deletionGracePeriodSeconds=0)),
        event(9, "create", pod("c"), code=201),
    ]
    first, second, third = audit.pods_in(log)
    begin = first.begin
    assert [(each.uid, each.begin - begin, each.succeeded) for each in (first, second, third)] == [
        ("a", 0.0, True),
        ("b", 4.0, False),
        ("c", 8.0, False),
    ]
    assert (first.end, second.end, third.end) == (begin + 2.5, begin + 6.5, None)
    assert (first.partition, first.owners) == ("p1", ("job",))


@pytest.mark.parametrize(
    ("second", "overlap"),
    [(life("b", 2, 3), False), (life("b", 1.5, 3), True), (life("b", 1.5, None), True), (life("b", 0, 1), False)],
)
def test_two_pods_of_a_run_are_there_at_a_time(second: PodLife, overlap: bool) -> None:  # noqa: FBT001 (a parameter)
    claims = verdict.broken(Aftermath((), (life("a", 1, 2), second), (), frozenset(), ()))
    assert bool(claims["no run had two pods at a time"]) is overlap


def test_two_runs_are_on_a_partition_at_a_time() -> None:
    both = life("a", 1, 3, partition="p1"), life("b", 2, 4, partition="p1", run_uid="other")
    apart = life("a", 1, 3, partition="p1"), life("b", 2, 4, partition="p2", run_uid="other")
    claim = "no partition had pods of two runs at a time"
    assert verdict.broken(Aftermath((), both, (), frozenset(), ()))[claim]
    assert not verdict.broken(Aftermath((), apart, (), frozenset(), ()))[claim]


def run(name: str, state: str, reason: str) -> dict[str, Any]:
    conditions = [{"type": "Finished", "status": "True", "reason": reason, "message": "why"}]
    return {"metadata": {"name": name, "uid": "run"}, "status": {"state": state, "conditions": conditions}}


def test_each_run_has_what_its_trainer_deserved() -> None:
    claim = "each run is in the state that its trainer deserved"
    well = run("good-00001", "Succeeded", "Succeeded"), run("refused-00002", "Failed", "DatasetInvalid")
    badly = run("good-00001", "Failed", "RetriesExhausted"), run("crashing-00002", "Failed", "DatasetInvalid")
    assert not verdict.broken(Aftermath(well, (), (), frozenset(), ()))[claim]
    assert len(verdict.broken(Aftermath(badly, (), (), frozenset(), ()))[claim]) == 2


def test_a_result_is_lost_where_another_pod_follows() -> None:
    pods = life("a", 1, 2, succeeded=True, owners=("job",)), life("b", 3, 4, succeeded=True)
    runs = (run("good-00001", "Succeeded", "Succeeded"),)
    for by_hand, lost in ((frozenset[str](), 1), (frozenset({"a"}), 0), (frozenset({"job"}), 0)):
        assert len(verdict.broken(Aftermath(runs, pods, (), by_hand, ()))["no result is lost"]) == lost
    assert not verdict.broken(Aftermath((), pods, (), frozenset(), ()))["no result is lost"]


def test_leases_and_faults_that_are_left_are_told() -> None:
    left = verdict.broken(Aftermath((), (), ("partition-p1",), frozenset(), ("Traceback",)))
    assert left["no partition is kept"] == ("partition-p1",)
    assert left["the operator has no fault of its own in its log"] == ("Traceback",)
    assert not any(verdict.broken(_NOTHING).values())


def test_a_hundred_runs_have_all_stories_in_their_shares() -> None:
    found = [stories.story_number(number).prefix for number in range(100)]
    assert {story.prefix: found.count(story.prefix) for story in stories.STORIES} == {
        story.prefix: story.share for story in stories.STORIES
    }


def test_each_story_has_a_stage_of_its_own_for_the_end_of_its_pods() -> None:
    stages = [yaml.safe_load(each) for each in stories.pod_stages().split("\n---\n")]
    ends = {stage["metadata"]["name"]: stage for stage in stages}
    for story in stories.STORIES:
        spec = ends[f"pod-ends-{story.prefix}"]["spec"]
        assert spec["selector"]["matchExpressions"][-1]["values"] == [story.prefix]
        assert f"exitCode: {story.exit_code}\n" in spec["next"]["statusTemplate"]
        assert "TERMINATION_MESSAGE" not in spec["next"]["statusTemplate"]
