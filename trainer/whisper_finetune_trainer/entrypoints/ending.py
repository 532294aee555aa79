"""How an attempt ends: with an exit code and a TrainingResult, which becomes the termination message.

The kubelet keeps at most 4,096 bytes of that message, so a larger result is shortened.
"""

import json
import logging
import multiprocessing
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, NoReturn, Optional, Tuple

from whisper_finetune_api import causes, contract
from whisper_finetune_api.run import TERMINATION_MESSAGE_MAX_BYTES, TrainerReport, TrainingResult
from whisper_finetune_trainer.machine.stopping import Stopped
from whisper_finetune_trainer.messages import errors, redaction
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.progress.progress import Reporter

#: For an error that is not the user's, and for which the run is tried again.
EXIT_UNEXPECTED = 1
_MORE_MEMORY = "give the runtime more, or lower training.batchSize or training.maxLabelTokens"
#: What Python, PyTorch and the system say when a machine is short of something, what it means, and what helps. Another
#: node may have enough, or this one later.
_ADVICE = (
    ("MemoryError", ("out of memory", _MORE_MEMORY)),
    ("DefaultCPUAllocator", ("out of memory", _MORE_MEMORY)),
    ("Cannot allocate memory", ("out of memory", _MORE_MEMORY)),
    ("out of shared memory", ("the shared memory is full", "give the runtime more sharedMemory")),
    ("killed by signal: Bus error", ("the shared memory is full", "give the runtime more sharedMemory")),
    ("killed by signal: Killed", ("out of memory", "a process that reads clips was killed; give the runtime more")),
    ("No space left on device", ("a disk is full", "make room on the node, or give the runtime a larger scratchLimit")),
    # torch.save says this of a full disk.
    ("inline_container.cc", ("a disk is full", "make room on the node, or give the runtime a larger scratchLimit")),
    ("Disk quota exceeded", ("a disk is full", "make room on the node, or give the runtime a larger scratchLimit")),
)
#: The API's bound of `message`, in characters.
_MESSAGE_MAX_LENGTH = 1024
_CUT = " ..."
#: A text of so many characters is not cut further.
_LEAST_SAID = 60
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ending:
    """How an attempt ended."""

    exit_code: int
    result: TrainingResult


def ending_of_attempt(attempt: Callable[[], TrainingResult], reporter: Reporter) -> Ending:
    """Make an attempt and return how it ended. If it raises, the result has all that the reporter knows by then."""
    try:
        return Ending(causes.EXIT_DONE, attempt())
    except TrainerError as error:
        for line in error.message.splitlines():
            logger.error("%s: %s", error.reason, line)  # noqa: TRY400 (the message is for the user; no traceback)
        return _failed(reporter, error.exit_code, error.reason, error.message)
    except Stopped as stopped:
        message = _stopped_message(reporter, stopped)
        logger.info("%s", message)
        return _failed(reporter, causes.EXIT_STOPPED, None, message)
    except Exception as error:
        logger.exception("unexpected")
        return _failed(reporter, EXIT_UNEXPECTED, None, _with_advice(error))


def _with_advice(error: Exception) -> str:
    """Return what the machine is short of, and what helps. For any other error return its type and text."""
    if isinstance(error, MemoryError) and not str(error):
        return f"out of memory: {_MORE_MEMORY}"
    text = f"{type(error).__name__}: {error}"
    advice = next((advice for words, advice in _ADVICE if words in text), None)
    return f"{advice[0]} ({error_in_one_line(error)}): {advice[1]}" if advice else error_in_one_line(error)


def error_in_one_line(error: BaseException) -> str:
    """Return the type and the text of an unexpected error in one line. Its traceback is in the log."""
    text = errors.words_of(error)
    return f"{type(error).__name__}: {text}" if str(error).strip() else text


def write_termination_message(path: Path, ending: Ending, operators: Optional[int] = None) -> None:
    """Write the termination message to the file that the kubelet reads. If that fails, the message goes to the log.

    `operators` is the number of the operator's contract, None where it is not known.
    """
    message = termination_message(ending.result, operators=operators)
    try:
        path.write_bytes(message)
    except OSError as error:
        logger.warning("cannot write the termination message to %s: %s; it is: %s", path, error, message.decode())


def leave_process(exit_code: int) -> NoReturn:
    """End the process at once, without waiting for threads.

    Python's own exit waits for every thread, and a thread that reads may wait minutes for a store that does not answer.
    A stopped pod would be killed before that, which counts as a failure. Uploads and trackers were waited for earlier.
    """
    for child in multiprocessing.active_children():
        child.kill()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def _failed(reporter: Reporter, exit_code: int, reason: Optional[str], message: str) -> Ending:
    snapshot, plain = reporter.snapshot(), redaction.without_secrets(message, os.environ)
    return Ending(exit_code, failed_result(snapshot.report, reason, plain, round(snapshot.training_seconds)))


def _stopped_message(reporter: Reporter, stopped: Stopped) -> str:
    checkpoints = reporter.report().checkpoints
    saved = f"; the next attempt goes on from {checkpoints[-1].path}" if checkpoints else " before the first checkpoint"
    return f"stopped by {stopped.by}{saved}{f'; {stopped}' if str(stopped) else ''}"


def failed_result(report: TrainerReport, reason: Optional[str], message: str, seconds: int) -> TrainingResult:
    """Return the result of an attempt that did not succeed: what is known so far, and why it ended."""
    known = {name: getattr(report, name) for name in TrainerReport.model_fields if name != "uid"}
    return TrainingResult(**known, reason=reason, message=cut_text(message, _MESSAGE_MAX_LENGTH), seconds=seconds)


def cut_text(text: str, length: int) -> str:
    """Return at most `length` characters of the text. A text that was cut ends with `...`."""
    return text if len(text) <= length else text[: max(0, length - len(_CUT))] + _CUT


def render_result(result: TrainingResult, operators: Optional[int] = None) -> bytes:
    """Return the result as one line of JSON in the operator's contract, whatever its size."""
    return json.dumps(
        contract.answer_for_operator(result, operators), ensure_ascii=False, separators=(",", ":")
    ).encode()


def termination_message(
    result: TrainingResult, limit: int = TERMINATION_MESSAGE_MAX_BYTES, operators: Optional[int] = None
) -> bytes:
    """Return the result as JSON in at most `limit` bytes.

    Of one that is too long, `_SHORTENINGS` leave out what is missed least: the kubelet would cut it in the middle, and
    then nothing of it could be read.
    """
    for shorten in _SHORTENINGS:
        while len(render_result(result, operators)) > limit:
            shorter = shorten(result)
            if shorter is None:
                break
            result = shorter
    return render_result(result, operators)


def _without_oldest_checkpoint(result: TrainingResult) -> Optional[TrainingResult]:
    return result.model_copy(update={"checkpoints": result.checkpoints[1:]}) if len(result.checkpoints) > 1 else None


def _with_half_the_message(result: TrainingResult) -> Optional[TrainingResult]:
    # It is halved each time, because a character has one to four bytes. Few messages are that long.
    half = _half(result.message)
    return None if half is None else result.model_copy(update={"message": half})


def _with_half_the_judgement(result: TrainingResult) -> Optional[TrainingResult]:
    judged = result.acceptance
    half = _half(judged.message) if judged else None
    if judged is None or half is None:
        return None
    return result.model_copy(update={"acceptance": judged.model_copy(update={"message": half})})


def _with_half_the_refusals(result: TrainingResult) -> Optional[TrainingResult]:
    exports = result.exports or ()
    halves = [_half(export.refused or "") for export in exports]
    if not any(halves):
        return None
    shorter = (export.model_copy(update={"refused": half or export.refused}) for export, half in zip(exports, halves))
    return result.model_copy(update={"exports": tuple(shorter)})


def _half(text: str) -> Optional[str]:
    """Return the first half of a text, or None for one that would say nothing then."""
    return cut_text(text, len(text) // 2) if len(text) > _LEAST_SAID else None


def _without_what_progress_told(result: TrainingResult) -> Optional[TrainingResult]:
    # The operator asked for it while the training went on, and keeps what an ending does not say.
    return None if result.ran_on is None else result.model_copy(update={"ran_on": None})


def _without_last_evaluation(result: TrainingResult) -> Optional[TrainingResult]:
    measured = result.evaluations or ()
    return result.model_copy(update={"evaluations": measured[:-1]}) if measured else None


_SHORTENINGS: Tuple[Callable[[TrainingResult], Optional[TrainingResult]], ...] = (
    _without_oldest_checkpoint,
    _with_half_the_message,
    _with_half_the_judgement,
    _with_half_the_refusals,
    _without_what_progress_told,
    _without_last_evaluation,
)
