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
    """There was no usable answer for now. The same request may succeed later."""


class ConflictError(ClusterError):
    """The object has changed since it was read, or its name is taken. It must be read again."""


class NotFoundError(ClusterError):
    """There is no such object, or no such kind of object, or no such namespace."""


class GoneError(ClusterError):
    """The server cannot show what changed since a version. What there is must be listed anew."""


class UnauthorizedError(ClusterError):
    """The credentials are refused. A token may just be being renewed."""


class UntrustedServerError(ClusterError):
    """Whoever answers may not be the API server."""


class RefusedError(Exception):
    """The API server refuses the request until somebody corrects something. The text is the server's."""


async def until_answered(
    what: str, ask: Callable[[], Awaitable[T]], *, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> T:
    """Ask until there is an answer, and return it. Each new ClusterError on the way is logged once as a warning."""
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
                logger.info("%s: done at try %d", what, failures + 1)
            return answer
