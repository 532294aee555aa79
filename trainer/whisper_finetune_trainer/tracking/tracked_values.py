"""What trackers are told of a run: parameters, and measures by step. There is one tracker per library."""

from dataclasses import dataclass
from typing import Any, Dict, Iterator, Mapping, Optional, Protocol, Sequence, Tuple

from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_api.v1alpha1.scores import WordErrorRate
from whisper_finetune_trainer.progress.progress import Snapshot

#: The longest value that MLflow takes.
_LONGEST = 500


@dataclass(frozen=True)
class Point:
    """A measure of one step."""

    name: str
    step: int
    value: float


def parameters(spec: WhisperFineTuneSpec, uid: str) -> Dict[str, str]:
    """Return the fields of the spec by their path, as text. The names of Secrets are left out."""
    fields = {**{name: value for name, value in spec.to_json_object().items() if name != "secretRefs"}, "uid": uid}
    return {name: str(value)[:_LONGEST] for name, value in _flat(fields, "")}


def points(snapshot: Snapshot) -> Tuple[Point, ...]:
    """Return all measures of a snapshot. Most of them were in the snapshot before too."""
    measured = snapshot.measured
    # A resumed attempt knows the baseline without measuring it.
    baseline = figures(0, snapshot.report.baseline)
    newest = figures(measured.step, measured.figures, measured.name) if measured else ()
    return (*_of_step(snapshot), *baseline, *newest)


def figures(step: int, found: Optional[WordErrorRate], name: Optional[str] = None) -> Tuple[Point, ...]:
    """Return the scores that were measured at a step.

    They are of the held-out clips (eval), of the validation clips, or of a further data set (its name below eval).
    """
    if found is None:
        return ()
    part = f"eval/{name}" if name else "validation" if found.part == "Validation" else "eval"
    scores = ((kind, getattr(found, kind)) for kind in ("score", "wer", "normalized_wer", "cer", "chrf", "bleu"))
    return tuple(Point(f"{part}/{kind}", step, float(score)) for kind, score in scores if score is not None)


def _of_step(snapshot: Snapshot) -> Iterator[Point]:
    progress = snapshot.report.progress
    if progress is None or progress.loss is None or snapshot.learning_rate is None:
        return
    yield Point("train/loss", progress.step, float(progress.loss))
    yield Point("train/learning_rate", progress.step, snapshot.learning_rate)


def _flat(fields: Mapping[str, Any], prefix: str) -> Iterator[Tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


class Tracker(Protocol):
    """One run on one server. A later attempt of the run continues it."""

    def begin(self, parameters: Mapping[str, str]) -> None:
        """Find the run or create it, and send the parameters. It is called again if it failed."""

    def log(self, points: Sequence[Point]) -> None:
        """Send measures."""

    def end(self, tags: Mapping[str, str], *, is_done: bool) -> None:
        """Send the tags and end the run. Where it is not done, another attempt may follow."""
