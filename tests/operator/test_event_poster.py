"""Events that cannot be posted are logged once per namespace, and hardly at all for one that is being deleted."""

from typing import Any

import pytest

from run_objects import run_object
from whisper_finetune_operator.acting.event_poster import EventPoster
from whisper_finetune_operator.api.errors import RefusedError
from whisper_finetune_operator.deciding.status import Announcement
from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.runs import Run

RUN = Run.from_object(run_object())
FORBIDDEN = 'events.events.k8s.io is forbidden: User "operator" cannot create resource "events"'
DELETED = "events is forbidden: unable to create new content in namespace speech because it is being terminated"


class Refusing:
    """An API server that refuses Events for the reasons given, one after the other; None: it takes one."""

    def __init__(self, reasons: list[str | None]) -> None:
        self._reasons = reasons

    async def create(self, *_: Any) -> None:
        if reason := self._reasons.pop(0):
            raise RefusedError(reason)


@pytest.mark.parametrize(
    ("reasons", "warnings"),
    [([FORBIDDEN] * 40, 1), ([DELETED] * 40, 0), ([FORBIDDEN, None, FORBIDDEN], 2)],
    ids=["no right", "under deletion", "again after one that was taken"],
)
async def test_warnings(caplog: pytest.LogCaptureFixture, reasons: list[str | None], warnings: int) -> None:
    count = len(reasons)
    api: Any = Refusing(reasons)
    poster = EventPoster(api, Metrics(), instance="test")
    for number in range(count):
        poster.post(RUN, Announcement("Normal", "Pending", f"news {number}"))
    await poster.post_waiting()
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == warnings
