"""How long to wait after a failure: longer each time, and spread at random."""

from datetime import timedelta

FIRST_SECONDS = 0.5
LAST_SECONDS = 60.0
#: Further doublings change nothing.
_MOST_DOUBLINGS = 16


def doubled_wait(first: timedelta, times: int, last: timedelta) -> timedelta:
    """Return the wait after so many times. It begins with `first`, doubles each time, and never exceeds `last`."""
    return min(first * (1 << min(max(times, 1) - 1, _MOST_DOUBLINGS)), last)


def wait_after_failures(failures: int, fraction: float) -> float:
    """Return the wait after so many failures in a row. `fraction` in [0, 1) spreads those that fail together."""
    wait = doubled_wait(timedelta(seconds=FIRST_SECONDS), failures, timedelta(seconds=LAST_SECONDS))
    return wait.total_seconds() * (0.5 + fraction / 2)


class BackOff:
    """Counts failures in a row of something that should last. To end early is a failure."""

    def __init__(self, healthy_seconds: float) -> None:
        self._healthy_seconds = healthy_seconds
        self._failures = 0

    def wait_seconds(self, lasted_seconds: float, fraction: float) -> float:
        """Return how long to wait before the next try. After one that lasted it is 0."""
        if lasted_seconds >= self._healthy_seconds:
            self._failures = 0
            return 0.0
        self._failures += 1
        return wait_after_failures(self._failures, fraction)
