"""The file in the run's folder that keeps an evaluation. Step 0 is the baseline.

Evaluations on the validation clips, by which the best model is chosen, are in a folder of their own. So are those of
each data set of `spec.evaluations`.
"""

from typing import Optional, Tuple

from pydantic import Field

from whisper_finetune_api.v1alpha1.api_model import Digest
from whisper_finetune_api.v1alpha1.scores import Part, WordErrorRate
from whisper_finetune_trainer.output import record
from whisper_finetune_trainer.output.record import Record
from whisper_finetune_trainer.output.run_folder import RunFolder

BASELINE_STEP = 0
_BASELINE_FILE = "baseline.json"
_FILE = "evaluations/evaluation-{}.json"
_VALIDATION_FILE = "validation/evaluation-{}.json"
_NAMED_FILE = "further-evaluations/{}/evaluation-{}.json"


class EvaluationRecord(Record):
    """The figures of the model after one step, and what it heard."""

    step: int = Field(ge=0)
    uid: str
    clips: Digest = Field(description="Of the measured clips' names and texts: only figures of the same clips compare.")
    figures: WordErrorRate
    hypotheses: Tuple[str, ...]
    unended: Tuple[int, ...] = Field(
        (), description="Indexes of texts that the model did not end, but that are not too long."
    )
    cut: Tuple[int, ...] = Field((), description="Indexes of texts that were cut at what their clip can hold.")


def read_evaluation(
    folder: RunFolder, step: int, part: Part = "HeldOut", name: Optional[str] = None
) -> Optional[EvaluationRecord]:
    """Return the record that this run has written for a step and a part of the clips, or None.

    `name` is that of a further data set, which takes the place of the part.
    """
    found = record.read_record(EvaluationRecord, folder.read_json(_file_of(step, part, name)))
    return found if found and (found.step, found.uid) == (step, folder.uid) else None


def write_evaluation(folder: RunFolder, evaluation: EvaluationRecord, name: Optional[str] = None) -> None:
    """Write the record's file. A reader finds it whole or not at all."""
    part = evaluation.figures.part or "HeldOut"
    folder.write_json(_file_of(evaluation.step, part, name), evaluation.to_json_object())


def _file_of(step: int, part: Part, name: Optional[str]) -> str:
    if name is not None:
        return _NAMED_FILE.format(name, step)
    if part == "Validation":
        return _VALIDATION_FILE.format(step)
    return _BASELINE_FILE if step == BASELINE_STEP else _FILE.format(step)
