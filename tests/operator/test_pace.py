"""The bound on requests: so many per second, and none before the time that the server asked for."""

import asyncio

import pytest

from simulated_time import in_simulated_time
from whisper_finetune_operator.api.api_server import LONGEST_HOLD_SECONDS, Pace
from whisper_finetune_operator.api.errors import ClusterError, RefusedError, until_answered


async def moments_of(pace: Pace, count: int) -> list[float]:
    """Return when each of so many requests that come at once may go."""
    moments: list[float] = []

    async def one() -> None:
        await pace.turn()
        moments.append(asyncio.get_running_loop().time())

    await asyncio.gather(*[one() for _ in range(count)])
    return sorted(moments)


def test_first_second_passes_at_once_and_the_rest_at_the_pace() -> None:
    async def main() -> list[float]:
        pace = Pace(10)
        await asyncio.sleep(100)
        return await moments_of(pace, 31)

    moments = [moment - 100 for moment in in_simulated_time(main())]
    assert moments[:11] == pytest.approx([0.0] * 11, abs=0.01)
    assert moments[-1] == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize(("asked", "held"), [(7.0, 7.0), (86400.0, LONGEST_HOLD_SECONDS)])
def test_nothing_passes_before_the_server_wants_it_and_not_all_at_once_then(asked: float, held: float) -> None:
    async def main() -> list[float]:
        pace = Pace(1000)
        pace.hold(asked)
        return await moments_of(pace, 50)

    moments = in_simulated_time(main())
    assert held <= moments[0]
    assert moments[-1] <= held * 1.5 + 0.1
    assert moments[-1] - moments[0] > held / 10


def test_hold_that_comes_while_one_waits_counts() -> None:
    async def main() -> float:
        pace = Pace(1000)
        pace.hold(5)
        waiting = asyncio.create_task(moments_of(pace, 1))
        await asyncio.sleep(1)
        pace.hold(30)
        return (await waiting)[0]

    assert in_simulated_time(main()) >= 31


def test_what_the_server_does_not_answer_is_asked_again_and_each_new_problem_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    problems = [ClusterError("away"), ClusterError("away"), RefusedError("not now"), ClusterError("away")]

    async def ask() -> str:
        if problems:
            raise problems.pop(0)
        return "here"

    assert in_simulated_time(until_answered("looking", ask)) == "here"
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == [f"looking: trying again until it can be done: {each}" for each in ("away", "not now", "away")]
