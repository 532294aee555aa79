"""Write the report of a finished training into the run's folder, and TensorBoard's events beside it.

The report is one HTML page without scripts, network or other files. Names and texts come from the data set and are not
trusted. So every value is escaped. Even if one were not, the page's own policy forbids scripts and the network. Clips
are in it as sounds, in MP3, which every browser plays, with about 3 kB a second.
"""

import base64
import contextlib
import hashlib
import io
import logging
import tempfile
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Sequence, Tuple

import jinja2
import numpy as np
import soundfile
from markupsafe import Markup
from tensorboardX import SummaryWriter

from whisper_finetune_api.run import TrainingResult
from whisper_finetune_trainer.checkpoints.step_record import Stretch
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.data.audio.decoding import SAMPLE_RATE
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.evaluation.evaluations import Evaluation
from whisper_finetune_trainer.messages.errors import TrainerError, quoted, words_of
from whisper_finetune_trainer.output.run_folder import RunFolder
from whisper_finetune_trainer.report import report_data
from whisper_finetune_trainer.report.report_data import FinishedTraining, ReportData

FILE = "report.html"
_FOLDER = Path(__file__).parent / "template"
_POLICY = (
    "default-src 'none'; style-src 'sha256-{}'; img-src data:; media-src data:; base-uri 'none'; form-action 'none'"
)
#: TensorBoard finds a file by this part of its name. It is always the same, so that a later attempt replaces the file.
EVENTS_FILE = "tensorboard/events.out.tfevents.run"

#: A tag, a step, a value, and how many seconds after the start of the first step it was known.
_Scalar = Tuple[str, int, float, float]
logger = logging.getLogger(__name__)


def write_report(folder: RunFolder, finished: FinishedTraining) -> TrainingResult:
    """Write the report and the events. Return the result, with the report named in it if it was written.

    An error in one of them is logged. The other is still written, and the run goes on.
    """
    with _logged("TensorBoard's events"):
        started = time.time() - sum(stretch.seconds for stretch in finished.stretches)
        folder.write_bytes(EVENTS_FILE, render_events(finished.stretches, finished.all_evaluations(), started))
    with _logged("the report"):
        folder.write_text(FILE, _page(finished))
        return finished.result.model_copy(update={"report": FILE})
    return finished.result


def _page(finished: FinishedTraining) -> str:
    data = report_data.gather_report(finished)
    shown = [change.clip for change in data.changes.shown_in_turn()]
    return render_page(data, data_uris(shown, lambda clip: decoding.read_samples(clip.audio)))


@contextlib.contextmanager
def _logged(what: str) -> Iterator[None]:
    try:
        yield
    except Exception:  # no error in a report may cost the model, which is written next
        logger.exception("%s cannot be written; the run goes on without it", what)


def render_page(data: ReportData, sounds: Mapping[str, str]) -> str:
    """Return the page as HTML. `sounds` are data URIs by the clips' identifiers. Not every clip has one."""
    style = (_FOLDER / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return _page_template().render(
        data=data,
        sounds=sounds,
        policy=_POLICY.format(digest),
        style=Markup(style),  # noqa: S704 -- a file of this package
    )


@lru_cache(maxsize=None)
def _page_template() -> jinja2.Template:
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(_FOLDER)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template("page.html")


def render_events(stretches: Sequence[Stretch], evaluations: Sequence[Evaluation], started: float) -> bytes:
    """Return the content of TensorBoard's event file.

    `started` is the time of the first step in seconds since 1970. The time of a later step adds up the seconds of the
    steps before it, so the pauses between attempts are not shown.
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
        measured, part = evaluation.measurement, "validation" if evaluation.part == "Validation" else "eval"
        for name, figure in measured.figures().items():
            yield f"{part}/{name}", evaluation.step, figure, seconds


#: At most so many characters for one clip and for all clips. base64 makes four characters of three bytes.
_LARGEST_CLIP = 133_000
_LARGEST_TOTAL = 2_000_000
#: 0 is libsndfile's best quality and largest file. With 0.7, speech at 16 kHz takes about 24 kbit/s. So 30 s fit into
#: the limit.
_COMPRESSION = 0.7
#: After so many clips that a store did not give, no other clip is asked for. Each of them may cost minutes.
_MOST_FAULTS = 3


#: Returns samples (n,) of float32 at 16 kHz. Where it raises anything, the clip has no sound in the report.
ReadClip = Callable[[Clip], "np.ndarray[Any, np.dtype[np.float32]]"]


def data_uris(
    clips: Iterable[Clip],
    read: ReadClip,
    largest_clip: int = _LARGEST_CLIP,
    largest_total: int = _LARGEST_TOTAL,
) -> Dict[str, str]:
    """Return data URIs by the clips' identifiers. Clips that are too large, or do not fit any more, are left out."""
    found: Dict[str, str] = {}
    faults: List[Exception] = []
    for clip in clips:
        if clip.identifier in found or _is_unreachable(faults):
            continue
        try:
            uri = _data_uri(read(clip))
        except Exception as error:  # noqa: BLE001 -- whatever it is, a report is worth having without the sound
            _warn_once(clip, error, faults)
            continue
        if len(uri) <= largest_clip and sum(map(len, found.values())) + len(uri) <= largest_total:
            found[clip.identifier] = uri
    return found


def _is_unreachable(faults: Sequence[Exception]) -> bool:
    return sum(not isinstance(fault, TrainerError) for fault in faults) >= _MOST_FAULTS


def _warn_once(clip: Clip, error: Exception, faults: List[Exception]) -> None:
    if not faults:
        logger.warning(
            "the report goes without the sound of %s, and maybe of others: %s", quoted(clip.identifier), words_of(error)
        )
    faults.append(error)


def _data_uri(samples: "np.ndarray[Any, np.dtype[np.float32]]") -> str:
    return "data:audio/mpeg;base64," + base64.b64encode(mp3(samples)).decode()


def mp3(samples: "np.ndarray[Any, np.dtype[np.float32]]") -> bytes:
    """Return samples (n,) at 16 kHz as the content of an MP3 file."""
    encoded = io.BytesIO()
    soundfile.write(
        encoded, samples, SAMPLE_RATE, format="MP3", bitrate_mode="VARIABLE", compression_level=_COMPRESSION
    )
    return encoded.getvalue()
