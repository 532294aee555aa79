"""What another version of this project reads from JSON. Run it with PYTHONPATH set to that version's source roots.

Its imports have the names of that version. They stay as they are when modules of this version are renamed.

usage: python other_version.py < '[["ask", argument], ...]' > '[answer, ...]'
"""

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from whisper_finetune_api.run import TrainerConfig, TrainerReport, TrainingResult
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec, WhisperFineTuneStatus


def known_as(*names: str) -> Any:
    """Return the first of these (`module:name`) that the version has; the newest name stands first."""
    module, _, name = names[0].partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ModuleNotFoundError, AttributeError):
        if not names[1:]:
            raise
    return known_as(*names[1:])


def trainer_reads_config(environment: Mapping[str, str]) -> list[Any]:
    """Return the exit code and reason that the trainer ends with, and its message; 0 where it would begin."""
    from_environment = known_as(
        "whisper_finetune_trainer.entrypoints.configuration:config_of_environment",
        "whisper_finetune_trainer.configuration:from_environment",
    )
    of_attempt = known_as(
        "whisper_finetune_trainer.entrypoints.ending:ending_of_attempt", "whisper_finetune_trainer.ending:of_attempt"
    )
    reporter = known_as("whisper_finetune_trainer.progress.progress:Reporter")

    def attempt() -> TrainingResult:
        from_environment(environment)
        return TrainingResult()

    ended = of_attempt(attempt, reporter())
    return [ended.exit_code, ended.result.reason, ended.result.message]


def operator_reads_result(sent: list[str]) -> bool:
    """Return whether the operator takes a termination message for the run's result."""
    # As the version before has it: this one parses a message elsewhere.
    read_result = known_as("whisper_finetune_operator.workloads.results:read_result")
    return read_result(*sent) is not None


def operator_reads_progress(sent: list[str]) -> bool:
    """Return whether the operator takes an answer of /progress."""
    read_report = known_as("whisper_finetune_operator.progress_client:read_report")
    try:
        read_report(sent[0].encode(), sent[1])
    except Exception as refused:
        if type(refused).__name__ != "RefusedAnswerError":
            raise
        return False
    return True


def operator_reads_status(status: Mapping[str, Any]) -> bool:
    """Return whether the operator can look at a run with that status."""
    try:
        WhisperFineTuneStatus.model_validate(status)
    except ValidationError:
        return False
    return True


def trainer_digests_spec(spec: Mapping[str, Any]) -> str:
    """Return what the trainer knows the run's checkpoints by."""
    digest: str = known_as(
        "whisper_finetune_trainer.output.run_identity:training_fields_digest",
        "whisper_finetune_trainer.identity:training_fields_digest",
    )(WhisperFineTuneSpec.model_validate(spec))
    return digest


def trainer_reads_manifest(content: str) -> bool:
    """Return whether the trainer takes a folder with that manifest."""
    parse = known_as(
        "whisper_finetune_trainer.output.folder_manifest:parse_manifest",
        "whisper_finetune_trainer.output.folder_manifest:parse",
    )
    return parse(content.encode()) is not None


def trainer_writes_manifest(folder: str) -> str:
    """Return the manifest that the trainer writes for a folder."""
    describe = known_as(
        "whisper_finetune_trainer.output.folder_manifest:describe_folder",
        "whisper_finetune_trainer.output.folder_manifest:describe",
    )
    render = known_as(
        "whisper_finetune_trainer.output.folder_manifest:render_manifest",
        "whisper_finetune_trainer.output.folder_manifest:render",
    )
    written: str = render(describe(Path(folder), "uid", "f" * 64, 7)).decode()
    return written


def schemas(_: object) -> dict[str, Any]:
    """Return the JSON schemas of what crosses between operator and trainer."""
    kinds = (TrainerConfig, TrainerReport, TrainingResult)
    return {kind.__name__: kind.model_json_schema() for kind in kinds}


ASKS: dict[str, Callable[[Any], Any]] = {
    ask.__name__: ask
    for ask in (
        trainer_reads_config,
        operator_reads_result,
        operator_reads_progress,
        operator_reads_status,
        trainer_digests_spec,
        trainer_reads_manifest,
        trainer_writes_manifest,
        schemas,
    )
}

if __name__ == "__main__":
    json.dump([ASKS[ask](argument) for ask, argument in json.load(sys.stdin)], sys.stdout)
