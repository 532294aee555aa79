"""No more requests than the API server should have to bear, and none before the time that it asked for."""

import asyncio
import random
from collections.abc import Awaitable, Callable

#: So many may go at once after a quiet time, in seconds of the pace.
_BURST_SECONDS = 1.0
#: A server that asks for more is asked again after this all the same.
LONGEST_HOLD_SECONDS = 60.0


class Pace:
    """Lets requests pass one after the other, so many in a second; times are those of the event loop."""

    def __init__(self, per_second: float, *, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._gap_seconds = 1.0 / per_second
        self._pause = pause
        self._next_at = float("-inf")
        self._held_until = float("-inf")

    async def turn(self) -> None:
        """Return when the next request may go."""
        now = _clock()
        turn_at = max(self._next_at, now - _BURST_SECONDS)
        self._next_at = turn_at + self._gap_seconds
        # The server may ask for more time while one waits.
        while (wait := max(turn_at, self._held_until) - _clock()) > 0:
            await self._pause(wait * (1.0 if turn_at >= self._held_until else _spread()))

    def hold(self, seconds: float) -> None:
        """Let nothing pass for so long: the server said so."""
        self._held_until = max(self._held_until, _clock() + min(seconds, LONGEST_HOLD_SECONDS))


def _spread() -> float:
    """Return what keeps those that were held up together from coming back together."""
    return 1.0 + random.random() / 2  # noqa: S311 (it guards nothing)


def _clock() -> float:
    return asyncio.get_running_loop().time()
