"""One Event for each change of state or reason, and none for progress."""

import itertools

import pytest

from run_scenarios import CREATED, JOB, POD, PREPARING, SCENARIOS, TRAINING, Moment, Scenario, tell, tell_once
from whisper_finetune_api.v1alpha1 import WhisperFineTuneStatus
from whisper_finetune_operator.deciding.status import Announcement, announce_change


def heard(*moments: Moment) -> list[tuple[str, str]]:
    """Return the Events of a story by type and reason."""
    statuses = [WhisperFineTuneStatus(), *(decision.status for _, decision in tell(moments))]
    announced = [announce_change(before, after) for before, after in itertools.pairwise(statuses)]
    return [(each.type, each.reason) for each in announced if each]


def test_a_story_is_told_once() -> None:
    again = TRAINING._replace(seconds=80)
    assert heard(CREATED, JOB, POD, PREPARING, TRAINING, again) == [
        ("Normal", "Pending"),
        ("Normal", "Preparing"),
        ("Normal", "Training"),
    ]


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ("result, before the Job knows", ("Normal", "Succeeded")),
        ("result that is not accepted", ("Warning", "NotAccepted")),
        ("exit 65, TrainingDiverged", ("Warning", "TrainingDiverged")),
        ("Secret missing", ("Warning", "SecretNotFound")),
        ("killed for memory once", ("Warning", "Retrying")),
        ("accelerator missing", ("Warning", "AcceleratorUnavailable")),
        ("suspended before it was seen", ("Normal", "Suspended")),
        ("deadline over", ("Normal", "Ending")),
    ],
)
def test_troubles_are_warnings(story: str, expected: tuple[str, str]) -> None:
    assert heard(*SCENARIOS[story].moments)[-1] == expected


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))
def test_every_event_says_something_short_enough(scenario: Scenario) -> None:
    status = WhisperFineTuneStatus()
    for _, decision in tell_once(scenario):
        announced = announce_change(status, decision.status)
        assert announce_change(decision.status, decision.status) is None
        if announced:
            assert isinstance(announced, Announcement)
            assert 0 < len(announced.note) <= 1024
            assert 0 < len(announced.reason) <= 128
        status = decision.status
