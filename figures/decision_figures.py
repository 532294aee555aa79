"""The modules that one decision about a run goes through, over the stories of the operator's tests."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import ipu_scenarios
import run_scenarios
from call_tracing import Trace, trace
from run_objects import RUNTIMES
from whisper_finetune_api import reading
from whisper_finetune_api.run import TrainingResult
from whisper_finetune_operator.deciding.decisions import decide
from whisper_finetune_operator.workloads.pods import Pod
from whisper_finetune_operator.world import World

_MAKE_POD = Pod.__init__.__code__
_READ_JSON = reading.read_json_leniently.__code__


@dataclass(frozen=True)
class Pass:
    """The figures of one decision."""

    story: str
    modules: frozenset[str]
    #: How often one pod, and one termination message, was parsed at most.
    pod_parses: int
    message_parses: int


def passes() -> Iterator[Pass]:
    """Yield the last decision of each story."""
    for story, scenario in (run_scenarios.SCENARIOS | ipu_scenarios.SCENARIOS).items():
        world, _ = run_scenarios.tell(scenario.moments)[-1]
        yield pass_of(story, world)


def pass_of(story: str, world: World) -> Pass:
    """Decide once more about a world, and return the figures of that."""
    seen = trace(lambda: decide(world, RUNTIMES), (_MAKE_POD, _READ_JSON))
    return Pass(story, seen.modules, _most(_pods(seen)), _most(_messages(seen)))


def _pods(seen: Trace) -> list[str]:
    return [arguments[1] for code, arguments in seen.calls if code is _MAKE_POD]


def _messages(seen: Trace) -> list[str]:
    return [text for code, (model, text, *_) in seen.calls if code is _READ_JSON and model is TrainingResult]


def _most(values: list[str]) -> int:
    return max(Counter(values).values(), default=0)
