"""What a resync finds besides missed deletions: that the API server itself is another one."""

from typing import Any

import pytest

from run_objects import run_object
from test_object_cache import version
from whisper_finetune_operator.api.api_server import ApiServer
from whisper_finetune_operator.api.connection import Answer
from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.watching.object_cache import ObjectCache
from whisper_finetune_operator.watching.partition_book import PartitionBook
from whisper_finetune_operator.watching.resync import RestoredError, Resync
from whisper_finetune_operator.watching.workqueue import Workqueue


class Lists:
    """A way to an API server at some version, which has one run."""

    def __init__(self, at_version: int) -> None:
        self._at_version = at_version

    async def send(self, _: str, path: str, **__: Any) -> Answer:
        items = [version(run_object(), self._at_version)] if path.endswith("finetunes") else []
        return Answer(200, {"metadata": {"resourceVersion": str(self._at_version)}, "items": items})


def resync_of(server_at: int, known_at: int) -> tuple[Resync, ObjectCache]:
    store = ObjectCache(PartitionBook(lambda _: None))
    store.put_run(version(run_object(), known_at))
    way: Any = Lists(server_at)

    async def no_work(_: str) -> None:
        """Do nothing."""

    queue = Workqueue(no_work, lambda *_: None, workers=1)
    return Resync(ApiServer(way, Metrics()), store, queue, namespace=None), store


async def test_versions_that_went_back_are_a_reason_to_begin_anew() -> None:
    resync, _ = resync_of(server_at=500, known_at=4000)
    with pytest.raises(RestoredError, match="from 4000 to 500"):
        await resync.once()


@pytest.mark.parametrize("server_at", [4000, 4001])
async def test_versions_that_stay_or_grow_are_none(server_at: int) -> None:
    resync, store = resync_of(server_at, known_at=4000)
    await resync.once()
    assert len(list(store.runs())) == 1
