"""The termination message: a TrainingResult of good and bad endings alike, in at most 4,096 bytes. Pure."""

import json
from typing import Optional

from whisper_finetune_api import contract
from whisper_finetune_api.run import TERMINATION_MESSAGE_MAX_BYTES, TrainerReport, TrainingResult

#: The API's own bound of `message`, in characters.
_MESSAGE_MAX_LENGTH = 1024
_CUT = " ..."


def failed(report: TrainerReport, reason: Optional[str], message: str, seconds: int) -> TrainingResult:
    """Return the result of a bad ending: what is known so far, and why it ended."""
    known = {name: getattr(report, name) for name in TrainerReport.model_fields if name != "uid"}
    return TrainingResult(**known, reason=reason, message=cut(message, _MESSAGE_MAX_LENGTH), seconds=seconds)


def cut(text: str, length: int) -> str:
    """Return the text in at most `length` characters; what is cut off is marked."""
    return text if len(text) <= length else text[: max(0, length - len(_CUT))] + _CUT


def render(result: TrainingResult, operators: Optional[int] = None) -> bytes:
    """Return the result as one line of JSON in the operator's contract, without regard to its size."""
    return json.dumps(
        contract.answer_for_operator(result, operators), ensure_ascii=False, separators=(",", ":")
    ).encode()


def termination_message(
    result: TrainingResult, limit: int = TERMINATION_MESSAGE_MAX_BYTES, operators: Optional[int] = None
) -> bytes:
    """Return the result in at most `limit` bytes: the oldest checkpoints go first, then the message's end."""
    shrunk = result
    while len(render(shrunk, operators)) > limit and len(shrunk.checkpoints) > 1:
        shrunk = shrunk.model_copy(update={"checkpoints": shrunk.checkpoints[1:]})
    while len(render(shrunk, operators)) > limit and shrunk.message:
        # Half is left off at a time: characters are of one to four bytes, and few messages are long.
        shrunk = shrunk.model_copy(update={"message": cut(shrunk.message, len(shrunk.message) // 2)})
    return render(shrunk, operators)
