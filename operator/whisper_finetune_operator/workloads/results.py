"""Read what a trainer reports: nothing malformed, non-finite, foreign or outside the run's folder passes."""

from pydantic import ValidationError

from whisper_finetune_api import addresses
from whisper_finetune_api.run import ReportedCheckpoint, TrainingResult, run_folder_name
from whisper_finetune_api.v1alpha1 import Checkpoint, Model
from whisper_finetune_operator.world import Run


def read_ending(termination_message: str, uid: str) -> TrainingResult | None:
    """Return what a trainer said at its end, good or bad; None where it said nothing that can be read."""
    try:
        ending = TrainingResult.model_validate_json(termination_message)
    except ValidationError:
        return None
    return ending if ending.uid in (None, uid) else None


def read_result(termination_message: str, uid: str) -> TrainingResult | None:
    """Return the result of a trainer that ended well, with error rates and a model; None where it is unreadable."""
    ending = read_ending(termination_message, uid)
    return ending if ending and ending.reason is None and ending.result and ending.model else None


def folder(run: Run) -> str:
    """Return the address that everything of a run lies under; a Hub repository is the run's folder itself."""
    output = run.spec["output"]["uri"].rstrip("/")
    address = addresses.parse(output)
    if address is None or address.scheme == "hf":
        return str(output)
    return address.child(run_folder_name(run.name, run.uid))


def checkpoint(reported: ReportedCheckpoint, run_folder: str) -> Checkpoint:
    """Return a reported checkpoint by its whole address."""
    uri = f"{run_folder}/{reported.path}"
    return Checkpoint(step=reported.step, uri=uri, score=reported.score, wer=reported.wer, sha256=reported.sha256)


def model(ending: TrainingResult, run_folder: str) -> Model | None:
    """Return the reported final model by its whole address."""
    if ending.model is None:
        return None
    # In a repository of the Hub the model lies at the root.
    uri = run_folder if run_folder.startswith("hf://") else f"{run_folder}/{ending.model.path}"
    return Model(uri=uri, sha256=ending.model.sha256, step=ending.model.step)
