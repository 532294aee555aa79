"""Read what a trainer reports: nothing malformed, non-finite, foreign or outside the run's folder passes."""

from dataclasses import dataclass, replace

from whisper_finetune_api import addresses, reading
from whisper_finetune_api.contract import CONTRACT
from whisper_finetune_api.reading import Reading
from whisper_finetune_api.run import ReportedCheckpoint, TrainerReport, TrainingResult, run_folder_name
from whisper_finetune_api.v1alpha1 import Checkpoint, Model
from whisper_finetune_operator.runs import Run

#: Malformed, they must not read as absent: that would be everybody's report, or a good ending.
_ESSENTIAL = ("contract", "uid", "reason")


def read_report(answer: bytes) -> Reading[TrainerReport]:
    """Return what a trainer answers; ValueError where it cannot be read, or is of a later contract."""
    found = reading.read_json_leniently(TrainerReport, answer, _ESSENTIAL)
    if not _is_understood(found.model):
        raise ValueError("the trainer is newer than this operator: upgrade the operator")
    if any(part.path == ("stage",) for part in found.left_out):
        # Left out, it would be the first stage.
        return replace(found, model=found.model.model_copy(update={"stage": None}))
    return found


@dataclass(frozen=True)
class LastWords:
    """What a trainer wrote to its termination log."""

    #: What it said at its end, good or bad; None where it said nothing that can be read.
    ending: TrainingResult | None = None
    #: Only a newer operator can read them.
    is_of_a_later_contract: bool = False
    #: What of them is not understood, in one line; empty where nothing is left out.
    remark: str = ""

    @property
    def result(self) -> TrainingResult | None:
        """What a trainer that ended well reports, with error rates and a model; None where it is unreadable."""
        ending = self.ending
        return ending if ending and ending.reason is None and ending.result and ending.model else None


def read_last_words(termination_message: str, uid: str) -> LastWords:
    """Return what the trainer of a run of that UID said at its end: nothing where it cannot be read."""
    try:
        found = reading.read_json_leniently(TrainingResult, termination_message, _ESSENTIAL)
    except ValueError:
        return LastWords()
    if found.model.uid not in (None, uid):
        return LastWords()
    is_understood = _is_understood(found.model)
    return LastWords(found.model if is_understood else None, not is_understood, found.remark())


def _is_understood(report: TrainerReport) -> bool:
    return report.contract is None or report.contract <= CONTRACT


def folder_of_run(run: Run) -> str:
    """Return the address that everything of a run lies under; a Hub repository is the run's folder itself."""
    output = run.spec["output"]["uri"].rstrip("/")
    address = addresses.parse_address(output)
    if address is None or address.scheme == "hf":
        return str(output)
    return address.child(run_folder_name(run.name, run.uid))


def written_checkpoint(reported: ReportedCheckpoint, run_folder: str) -> Checkpoint:
    """Return a reported checkpoint by its whole address."""
    uri = f"{run_folder}/{reported.path}"
    return Checkpoint(step=reported.step, uri=uri, score=reported.score, wer=reported.wer, sha256=reported.sha256)


def written_model(ending: TrainingResult, run_folder: str) -> Model | None:
    """Return the reported final model by its whole address."""
    if ending.model is None:
        return None
    # In a repository of the Hub the model lies at the root.
    uri = run_folder if run_folder.startswith("hf://") else f"{run_folder}/{ending.model.path}"
    return Model(uri=uri, sha256=ending.model.sha256, step=ending.model.step)
