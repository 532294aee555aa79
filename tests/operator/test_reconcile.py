"""What is said of looks at a run that fail."""

import random

import pytest

from api_server_model import Server
from replica_model import Replica
from whisper_finetune_operator.api.api_server import RefusedError

FORBIDDEN = RefusedError("leases is forbidden")


async def test_a_look_that_fails_by_the_same_again_complains_once(caplog: pytest.LogCaptureFixture) -> None:
    reconciler = Replica(Server(random.Random(1))).reconciler  # noqa: S311 (no secret)
    for problem in (FORBIDDEN, FORBIDDEN, RefusedError("jobs is forbidden")):
        reconciler.report_failure("uid-1", problem, 60.0)
    assert [record.getMessage() for record in caplog.records] == [
        "looking again in 60.0 s: leases is forbidden",
        "looking again in 60.0 s: jobs is forbidden",
    ]
    await reconciler.reconcile("uid-1")
    reconciler.report_failure("uid-1", RefusedError("jobs is forbidden"), 0.5)
    assert caplog.messages[-1] == "looking again in 0.5 s: jobs is forbidden"
