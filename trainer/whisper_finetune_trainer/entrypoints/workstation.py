"""The commands `run`, `plan` and `compile`: the same training and the same plan without a cluster."""

import argparse
import contextlib
import importlib
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Iterator, Optional

from tqdm.contrib.logging import logging_redirect_tqdm

from whisper_finetune_api import causes
from whisper_finetune_api.run import Accelerator, TrainerConfig, TrainingResult
from whisper_finetune_trainer.entrypoints import attempt, configuration, dry_run, ending
from whisper_finetune_trainer.ipu import environment
from whisper_finetune_trainer.machine.stopping import StopRequest
from whisper_finetune_trainer.messages import logs
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.progress.progress import Reporter
from whisper_finetune_trainer.progress.progress_display import ProgressBar

logger = logging.getLogger(__name__)


def run_on_workstation(arguments: argparse.Namespace) -> int:
    """Make one attempt with a progress bar. Print its result as the last line of stdout, and return its exit code."""
    stop = StopRequest()
    stop.listen()
    reporter = Reporter()
    ended = ending.ending_of_attempt(lambda: _attempt(arguments, reporter, stop), reporter)
    sys.stdout.write(ending.render_result(ended.result).decode() + "\n")
    return ended.exit_code


def print_plan(arguments: argparse.Namespace) -> int:
    """Print as JSON what would be done. Return the exit code, which is not 0 for a refused object."""
    try:
        planned = dry_run.describe_run(_config(arguments, Path(tempfile.gettempdir())))
    except TrainerError as error:
        sys.stderr.writelines(logs.clean_text(line) + "\n" for line in error.message.splitlines())
        return error.exit_code
    sys.stdout.write(json.dumps(planned, indent=1, ensure_ascii=False) + "\n")
    return causes.EXIT_DONE


def compile_graph(arguments: argparse.Namespace) -> int:
    """Compile the training graph of an object into the executable cache. Return the exit code."""
    try:
        with _scratch_folder(arguments.scratch) as scratch:
            config = _config(arguments, scratch)
            environment.require_poptorch()
            # Only the image for IPUs has optimum-graphcore, which takes seconds to load.
            compilation = importlib.import_module("whisper_finetune_trainer.ipu.compilation")
            folder: str = compilation.fill_cache(config.spec, config.ipus, config.volumes, config.scratch_folder)
    except TrainerError as error:
        sys.stderr.writelines(logs.clean_text(line) + "\n" for line in error.message.splitlines())
        return error.exit_code
    sys.stdout.write(f"the training graph of {config.spec.model} is in {folder}\n")
    return causes.EXIT_DONE


def _attempt(arguments: argparse.Namespace, reporter: Reporter, stop: StopRequest) -> TrainingResult:
    with _scratch_folder(arguments.scratch) as scratch:
        config = _config(arguments, scratch)
        with _progress_bar(config.schedule.steps, reporter):
            return attempt.make_attempt(config, reporter, stop)


def _config(arguments: argparse.Namespace, scratch: Path) -> TrainerConfig:
    described = configuration.read_spec_file(arguments.spec)
    accelerator = arguments.accelerator or _accelerator_of(described.spec.ipus or arguments.ipus)
    return configuration.config_of_workstation(described, dict(arguments.volume), accelerator, scratch, arguments.ipus)


def _accelerator_of(ipus: Optional[int]) -> Accelerator:
    """Return the accelerator for an object where the command line does not name one."""
    if ipus is None:
        return "cpu"
    logger.info("training on %d IPUs; for other hardware give --accelerator cpu or cuda", ipus)
    return "ipu"


@contextlib.contextmanager
def _scratch_folder(given: Optional[Path]) -> Iterator[Path]:
    if given is not None:
        try:
            given.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainerError("ConfigInvalid", f"--scratch {given}: {error.strerror}") from None
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="whisper-finetune-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def _progress_bar(total_steps: int, reporter: Reporter) -> Iterator[None]:
    bar = ProgressBar(total_steps)
    reporter.listen(bar)
    with logging_redirect_tqdm():
        try:
            yield
        finally:
            bar.close()
