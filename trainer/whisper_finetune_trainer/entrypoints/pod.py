"""The trainer in a pod: configuration from the environment, progress over HTTP, result in the termination message."""

import os
from pathlib import Path

from whisper_finetune_api import contract
from whisper_finetune_api.run import TrainingResult
from whisper_finetune_trainer.entrypoints import attempt, configuration, ending
from whisper_finetune_trainer.machine import scratch_space
from whisper_finetune_trainer.machine.stopping import StopRequest
from whisper_finetune_trainer.progress import progress_server
from whisper_finetune_trainer.progress.progress import Reporter
from whisper_finetune_trainer.progress.progress_display import ProgressLog


def run_in_pod(termination_log: Path) -> int:
    """Make one attempt and return its exit code. The termination message is written however it ends."""
    stop = StopRequest()
    stop.listen()
    reporter = Reporter()
    reporter.listen(ProgressLog())
    ended = ending.ending_of_attempt(lambda: _attempt(reporter, stop), reporter)
    ending.write_termination_message(termination_log, ended, contract.number_in_environment(os.environ))
    return ended.exit_code


def _attempt(reporter: Reporter, stop: StopRequest) -> TrainingResult:
    config = configuration.config_of_environment(os.environ)
    scratch_space.use_scratch_folder(config.scratch_folder)
    run = {"name": config.name, "namespace": config.namespace, "uid": config.uid}
    operators = contract.number_in_environment(os.environ)
    progress_server.serve_progress(run, config.progress_port, reporter, operators=operators)
    return attempt.make_attempt(config, reporter, stop)
