"""What a tracker is told of a run: parameters, and measures by step. Pure."""

from dataclasses import dataclass
from typing import Any, Dict, Iterator, Mapping, Optional, Tuple

from whisper_finetune_api.run import TrainerConfig, TrainerReport
from whisper_finetune_api.v1alpha1.status import WordErrorRate
from whisper_finetune_trainer.progress.progress import Snapshot

#: MLflow takes no longer ones.
_LONGEST = 500


@dataclass(frozen=True)
class Point:
    """A measure of one step."""

    name: str
    step: int
    value: float


def parameters(config: TrainerConfig) -> Dict[str, str]:
    """Return the fields of the spec by their path; where Secrets lie is nobody's business."""
    spec = config.spec.to_json_object()
    fields = {**{name: value for name, value in spec.items() if name != "secretRefs"}, "uid": config.uid}
    return {name: str(value)[:_LONGEST] for name, value in _flat(fields, "")}


def points(snapshot: Snapshot) -> Tuple[Point, ...]:
    """Return all measures that a snapshot knows; most of them were in the one before too."""
    return (*_of_step(snapshot), *_of_evaluations(snapshot.report))


def figures(step: int, found: Optional[WordErrorRate]) -> Tuple[Point, ...]:
    """Return the error rates that were measured at a step."""
    if found is None:
        return ()
    return (
        Point("eval/wer", step, float(found.wer)),
        Point("eval/normalized_wer", step, float(found.normalized_wer)),
    )


def _of_step(snapshot: Snapshot) -> Iterator[Point]:
    progress = snapshot.report.progress
    if progress is None or progress.loss is None or snapshot.learning_rate is None:
        return
    yield Point("train/loss", progress.step, float(progress.loss))
    yield Point("train/learning_rate", progress.step, snapshot.learning_rate)


def _of_evaluations(report: TrainerReport) -> Iterator[Point]:
    yield from figures(0, report.baseline)
    for checkpoint in report.checkpoints:
        if checkpoint.wer is not None:
            yield Point("eval/wer", checkpoint.step, float(checkpoint.wer))


def _flat(fields: Mapping[str, Any], prefix: str) -> Iterator[Tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
