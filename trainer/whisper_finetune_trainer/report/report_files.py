"""Write the report of a finished training into the run's folder, and TensorBoard's events beside it.

The report is one HTML page that needs nothing else: no script, no network, no second file. Names and texts come from
the data set, so nobody vouches for them: every value is escaped, and the page's own policy forbids scripts and the
network even if one were not.
"""

import base64
import contextlib
import hashlib
import logging
import tempfile
import time
from pathlib import Path
from typing import Iterator, Mapping, Optional, Sequence, Tuple

import jinja2
from markupsafe import Markup
from tensorboardX import SummaryWriter

from whisper_finetune_api.run import Accelerator, TrainingResult
from whisper_finetune_trainer.checkpoints.step_record import Stretch
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.evaluation.evaluations import Evaluation
from whisper_finetune_trainer.machine import cpu_count
from whisper_finetune_trainer.output.run_folder import RunFolder
from whisper_finetune_trainer.report import clip_sounds, report_data
from whisper_finetune_trainer.report.report_data import FinishedTraining, ReportData

FILE = "report.html"
_FOLDER = Path(__file__).parent / "template"
_POLICY = (
    "default-src 'none'; style-src 'sha256-{}'; img-src data:; media-src data:; base-uri 'none'; form-action 'none'"
)
#: TensorBoard reads a file by this part of its name; one name, so that a later attempt replaces what an earlier wrote.
EVENTS_FILE = "tensorboard/events.out.tfevents.run"

#: A tag, a step, a value, and the second after the first step's start at which it was known.
_Scalar = Tuple[str, int, float, float]
logger = logging.getLogger(__name__)


def write_report(folder: RunFolder, finished: FinishedTraining) -> TrainingResult:
    """Write both and return the result with the report named. Nothing else of the run reads them.

    What is wrong with one of them is logged, and costs neither the other nor the run.
    """
    with _logged("TensorBoard's events"):
        started = time.time() - sum(stretch.seconds for stretch in finished.stretches)
        measured = (finished.baseline, *finished.history)
        folder.write_bytes(EVENTS_FILE, render_events(finished.stretches, measured, started))
    with _logged("the report"):
        folder.write_text(FILE, _page(finished))
        return finished.result.model_copy(update={"report": FILE})
    return finished.result


def count_devices(accelerator: Accelerator, ipus: Optional[int]) -> int:
    """Return how many IPUs, GPUs or CPUs the trainer holds."""
    if accelerator == "cpu":
        return cpu_count.available_cpus()
    return ipus or 1


def _page(finished: FinishedTraining) -> str:
    data = report_data.gather_report(finished)
    shown = [change.clip for change in data.changes.shown_in_turn()]
    return render_page(data, clip_sounds.data_uris(shown, lambda clip: decoding.read_samples(clip.audio)))


@contextlib.contextmanager
def _logged(what: str) -> Iterator[None]:
    try:
        yield
    except Exception:  # whatever is wrong with it must not cost the model, which comes next
        logger.exception("%s cannot be written; the run goes on without", what)


def render_page(data: ReportData, sounds: Mapping[str, str]) -> str:
    """Return the page. `sounds` are data URIs of clips by identifier, for as many as there are."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(_FOLDER)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (_FOLDER / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return templates.get_template("page.html").render(
        data=data,
        sounds=sounds,
        policy=_POLICY.format(digest),
        style=Markup(style),  # noqa: S704 -- a file of this package
    )


def render_events(stretches: Sequence[Stretch], evaluations: Sequence[Evaluation], started: float) -> bytes:
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
