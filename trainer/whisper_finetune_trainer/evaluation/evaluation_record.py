"""An evaluation as its file in the run's folder has it; step 0 is the baseline."""

from typing import Optional, Tuple

from pydantic import Field, ValidationError

from whisper_finetune_api.v1alpha1.model import ApiModel
from whisper_finetune_api.v1alpha1.status import Digest, WordErrorRate
from whisper_finetune_trainer.output.run_folder import RunFolder

BASELINE_STEP = 0
_BASELINE_FILE = "baseline.json"
_FILE = "evaluations/evaluation-{}.json"


class EvaluationRecord(ApiModel):
    """Figures of one step's model, and what it heard."""

    step: int = Field(ge=0)
    uid: str
    clips: Digest = Field(description="Of the held-out clips' names and texts: other clips make other figures.")
    figures: WordErrorRate
    hypotheses: Tuple[str, ...]


def read(folder: RunFolder, step: int) -> Optional[EvaluationRecord]:
    """Return the record of a step that this run has written, else None."""
    try:
        record = EvaluationRecord.model_validate(folder.read_json(_file_of(step)))
    except ValidationError:
        return None
    return record if (record.step, record.uid) == (step, folder.uid) else None


def write(folder: RunFolder, record: EvaluationRecord) -> None:
    """Keep a record, whole or not at all."""
    folder.write_json(_file_of(record.step), record.to_json_object())


def _file_of(step: int) -> str:
    return _BASELINE_FILE if step == BASELINE_STEP else _FILE.format(step)
