"""The run's curves as a TensorBoard event file."""

import tempfile
from pathlib import Path
from typing import Iterator, Sequence, Tuple

from tensorboardX import SummaryWriter

from whisper_finetune_trainer.checkpoints.step_record import Stretch
from whisper_finetune_trainer.evaluation.evaluations import Evaluation

#: TensorBoard reads a file by this part of its name; one name, so that a later attempt replaces what an earlier wrote.
FILE = "tensorboard/events.out.tfevents.run"

#: A tag, a step, a value, and the second after the first step's start at which it was known.
_Scalar = Tuple[str, int, float, float]


def render(stretches: Sequence[Stretch], evaluations: Sequence[Evaluation], started: float) -> bytes:
    """Return the content of an event file.

    `started` is a time in seconds since 1970. Later steps follow by their own seconds: waiting between attempts is not
    shown.
    """
    with tempfile.TemporaryDirectory(prefix="tensorboard-") as folder:
        with SummaryWriter(folder) as writer:
            for tag, step, value, seconds in [*_of_steps(stretches), *_of_evaluations(stretches, evaluations)]:
                writer.add_scalar(tag, value, step, walltime=started + seconds)
        (written,) = Path(folder).iterdir()
        return written.read_bytes()


def _of_steps(stretches: Sequence[Stretch]) -> Iterator[_Scalar]:
    seconds = 0.0
    for item in stretches:
        seconds += item.seconds
        yield "train/loss", item.last_step, item.loss, seconds
        yield "train/learning_rate", item.last_step, item.learning_rate, seconds


def _of_evaluations(stretches: Sequence[Stretch], evaluations: Sequence[Evaluation]) -> Iterator[_Scalar]:
    for evaluation in evaluations:
        seconds = sum(item.seconds for item in stretches if item.last_step <= evaluation.step)
        measured = evaluation.measurement
        yield "eval/score", evaluation.step, measured.score, seconds
        yield "eval/wer", evaluation.step, measured.wer, seconds
        yield "eval/normalized_wer", evaluation.step, measured.normalized_wer, seconds
        if measured.cer is not None:
            yield "eval/cer", evaluation.step, measured.cer, seconds
