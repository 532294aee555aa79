"""Ask until the API server answers: that it is away, or has too much to do, is no reason to end."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from whisper_finetune_operator import back_off
from whisper_finetune_operator.api.api_server import ClusterError, RefusedError

logger = logging.getLogger(__name__)
T = TypeVar("T")


async def until_answered(
    what: str, ask: Callable[[], Awaitable[T]], *, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> T:
    """Return what `ask` does; each new problem on the way is one warning, and what is no ClusterError is raised."""
    failures, told = 0, ""
    while True:
        try:
            answer = await ask()
        except (ClusterError, RefusedError) as problem:
            failures += 1
            if str(problem) != told:
                told = str(problem)
                logger.warning("%s: trying again until it can be done: %s", what, problem)
            await pause(back_off.seconds_after(failures, random.random()))  # noqa: S311 (it guards nothing)
        else:
            if failures:
                logger.info("%s: done at the %d. try", what, failures + 1)
            return answer
