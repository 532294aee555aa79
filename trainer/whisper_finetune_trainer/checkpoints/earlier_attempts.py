"""What earlier attempts of a run reached, or earlier runs of its name, by their folders alone."""

from typing import Optional, Tuple

from whisper_finetune_api.run import ReportedCheckpoint, TrainingResult
from whisper_finetune_trainer.evaluation import evaluation_record
from whisper_finetune_trainer.output import record
from whisper_finetune_trainer.output.run_folder import CHECKPOINTS, MODEL, RESUME, RunFolder
from whisper_finetune_trainer.progress.progress import Reporter

RESULT_FILE = "result.json"
#: The status lists at most so many.
_REPORTED = 10


def reported_checkpoints(folder: RunFolder, kinds: Tuple[str, ...]) -> Tuple[ReportedCheckpoint, ...]:
    """Return the newest whole checkpoints for the operator, oldest first. `kinds` are CHECKPOINTS or RESUME.

    Return none where the output does not outlive the pod: nobody could use them.
    """
    if not folder.outlives_the_pod:
        return ()
    found = sorted((item for kind in kinds for item in folder.checkpoints(kind)), key=lambda item: item.manifest.step)
    return tuple(
        ReportedCheckpoint(
            step=item.manifest.step,
            path=item.path,
            score=item.manifest.score,
            wer=item.manifest.wer,
            part=item.manifest.part,
            sha256=item.sha256,
        )
        for item in found[-_REPORTED:]
    )


def finished_result(folder: RunFolder) -> Optional[TrainingResult]:
    """Return the result of this run if its final model is whole, else None."""
    model = folder.stored(MODEL)
    result = record.understand_record(TrainingResult, folder.read_json(RESULT_FILE))
    if model is None or result is None or result.model is None:
        return None
    # Without its model, a result is of an attempt that was killed before the model was whole.
    return result if result.model.sha256 == model.sha256 else None


def result_of_earlier_run(folder: RunFolder, made_from: str) -> Optional[Tuple[RunFolder, TrainingResult]]:
    """Return the folder and the result of the newest finished run of this name with the same digest, else None.

    A run that was restored from a backup without its status finds its model by that, and so does one that was deleted
    and applied again. A run that has begun to train goes on instead.
    """
    if folder.checkpoints(RESUME):
        return None
    same = (earlier for earlier, model in folder.earlier_runs(MODEL) if model.manifest.made_from == made_from)
    finished = ((earlier, finished_result(earlier)) for earlier in same)
    whole = [(earlier, result) for earlier, result in finished if result is not None]
    return max(whole, key=lambda each: _finished_at(each[1]), default=None)


def _finished_at(result: TrainingResult) -> str:
    return (result.progress.update_time if result.progress else None) or ""


def tell_earlier_progress(folder: RunFolder, total_steps: int, reporter: Reporter) -> None:
    """Tell the reporter what is known from earlier attempts. So an early end of this attempt still reports it."""
    baseline = evaluation_record.read_evaluation(folder, evaluation_record.BASELINE_STEP)
    known = reported_checkpoints(folder, (CHECKPOINTS, RESUME))
    reporter.tell(baseline=baseline.figures if baseline else None, checkpoints=known)
    reporter.resume_at(known[-1].step if known else 0, total_steps)
