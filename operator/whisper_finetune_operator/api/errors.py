"""What the API server's refusals mean, and asking until it answers."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from whisper_finetune_operator import back_off

logger = logging.getLogger(__name__)
T = TypeVar("T")


class ClusterError(Exception):
    """No answer, or none for now: the same request may do later."""


class ConflictError(ClusterError):
    """The object is no longer what it was when it was read, or its name is taken: look again."""


class NotFoundError(ClusterError):
    """There is no such object, or no such kind of object, or no such namespace."""


class UnauthorizedError(ClusterError):
    """The credentials are refused. A token may just be being renewed."""


class UntrustedServerError(ClusterError):
    """Whoever answers does not prove to be the API server."""


class RefusedError(Exception):
    """The API server will not do this: somebody has to mend something. The text is the server's."""


async def until_answered(
    what: str, ask: Callable[[], Awaitable[T]], *, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> T:
    """Return what `ask` does. Each new problem on the way is one warning, and what is no ClusterError is raised."""
    failures, told = 0, ""
    while True:
        try:
            answer = await ask()
        except (ClusterError, RefusedError) as problem:
            failures += 1
            if str(problem) != told:
                told = str(problem)
                logger.warning("%s: trying again until it can be done: %s", what, problem)
            await pause(back_off.wait_after_failures(failures, random.random()))  # noqa: S311 (it guards nothing)
        else:
            if failures:
                logger.info("%s: done at the %d. try", what, failures + 1)
            return answer
