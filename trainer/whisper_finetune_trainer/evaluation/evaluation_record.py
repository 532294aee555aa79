"""An evaluation as its file in the run's folder has it; step 0 is the baseline."""

from typing import Optional, Tuple

from pydantic import Field

from whisper_finetune_api.v1alpha1.status import Digest, WordErrorRate
from whisper_finetune_trainer.output import record
from whisper_finetune_trainer.output.record import Record
from whisper_finetune_trainer.output.run_folder import RunFolder

BASELINE_STEP = 0
_BASELINE_FILE = "baseline.json"
_FILE = "evaluations/evaluation-{}.json"


class EvaluationRecord(Record):
    """Figures of one step's model, and what it heard."""

    step: int = Field(ge=0)
    uid: str
    clips: Digest = Field(description="Of the held-out clips' names and texts: other clips make other figures.")
    figures: WordErrorRate
    hypotheses: Tuple[str, ...]
    cut: Tuple[int, ...] = Field((), description="Places of those that went on for longer than their clip can hold.")


def read_evaluation(folder: RunFolder, step: int) -> Optional[EvaluationRecord]:
    """Return the record of a step that this run has written, else None."""
    found = record.read_record(EvaluationRecord, folder.read_json(_file_of(step)))
    return found if found and (found.step, found.uid) == (step, folder.uid) else None


def write_evaluation(folder: RunFolder, evaluation: EvaluationRecord) -> None:
    """Keep a record, whole or not at all."""
    folder.write_json(_file_of(evaluation.step), evaluation.to_json_object())


def _file_of(step: int) -> str:
    return _BASELINE_FILE if step == BASELINE_STEP else _FILE.format(step)
