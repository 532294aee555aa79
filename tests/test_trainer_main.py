"""The trainer's command line, as a process: what it prints, and how it ends where it is told something wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainer_configs import make_config, make_spec
from whisper_finetune_api.run import CONFIG_ENV, TrainingResult

ROOT = Path(__file__).parent.parent


def run_trainer(*arguments: object, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the trainer and return how it ended."""
    command = [sys.executable, "-m", "whisper_finetune_trainer", *map(str, arguments)]
    inherited = {name: value for name, value in os.environ.items() if name != CONFIG_ENV}
    paths = os.pathsep.join(str(ROOT / name) for name in ("crds", "trainer"))
    everything = {**inherited, "PYTHONPATH": paths, **(environment or {})}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=everything, timeout=120)


def write_object(folder: Path, spec: Mapping[str, Any], **header: Any) -> Path:
    """Write the object `demo` with a spec; `header` replaces what stands beside it."""
    path = folder / "run.yaml"
    written = {
        "apiVersion": "whisperfinetune.dev/v1alpha1",
        "kind": "WhisperFineTune",
        "metadata": {"name": "demo"},
        "spec": spec,
        **header,
    }
    path.write_text(yaml.safe_dump(written), encoding="utf-8")
    return path


def lines_of(ended: subprocess.CompletedProcess[str]) -> Sequence[str]:
    assert "Traceback" not in ended.stderr
    return ended.stderr.splitlines()


def test_a_plan_is_printed_and_nothing_is_done(tmp_path: Path) -> None:
    spec = make_spec(model="openai/whisper-base", training={"steps": 100, "evalEverySteps": 50, "trainable": "Decoder"})
    ended = run_trainer("plan", write_object(tmp_path, spec))
    assert ended.returncode == 0, ended.stderr
    planned = json.loads(ended.stdout)
    assert planned.pop("runFolder").startswith("pvc://speech/runs/demo-")
    assert planned.pop("memoryBytes") > 4 * 72593920
    assert planned == {
        "name": "demo",
        "model": "openai/whisper-base",
        "modelConfigRead": False,
        "accelerator": "cpu",
        "schedule": {
            "replicas": 1,
            "steps": 100,
            "warmupSteps": 25,
            "learningRate": 1e-05,
            "microBatchSize": 8,
            "gradientAccumulationSteps": 2,
            "evalEverySteps": 50,
        },
        "trainedParameters": 52003328,
        "parameters": 72593920,
    }
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


def test_the_same_object_has_the_same_folder_and_another_one_has_not(tmp_path: Path) -> None:
    def folder(**training: Any) -> str:
        spec = make_spec(model="openai/whisper-base", training=training)
        return str(json.loads(run_trainer("plan", write_object(tmp_path, spec)).stdout)["runFolder"])

    assert folder(steps=10) == folder(steps=10, resumeEverySeconds=30)
    assert folder(steps=10) != folder(steps=11)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "run.yaml: is not YAML: while parsing a flow"),
        ("", "run.yaml: must hold exactly one WhisperFineTune object, and holds 0 documents"),
        ("a: 1\n---\nb: 2", "run.yaml: must hold exactly one WhisperFineTune object, and holds 2 documents"),
        ("- a", "run.yaml: must hold exactly one WhisperFineTune object"),
        ("metadata: demo", "run.yaml: metadata must be an object with a name"),
        ("\x00", "run.yaml: is not YAML: unacceptable character"),
    ],
    ids=["broken", "empty", "two", "a list", "metadata", "binary"],
)
def test_a_file_that_is_no_object_gets_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    ended = run_trainer("plan", path)
    assert ended.returncode == 64
    (line,) = lines_of(ended)
    assert says in line


def test_each_wrong_field_gets_its_own_line(tmp_path: Path) -> None:
    spec = make_spec(language="klingon", training={"steps": 0, "stepz": 1, "learningRate": "fast"})
    path = write_object(tmp_path, spec, kind="Job", metadata={"name": "Demo!"})
    ended = run_trainer("plan", path)
    assert ended.returncode == 64
    assert [line.replace(str(path), "FILE") for line in lines_of(ended)] == [
        "FILE: apiVersion and kind must be whisperfinetune.dev/v1alpha1 and WhisperFineTune",
        "FILE: metadata.name must be a Kubernetes name of at most 52 characters, not 'Demo!'",
        (
            "FILE: spec.language: 'klingon' is no language of Whisper's; take a code or name of its table, "
            "such as it or italian"
        ),
        "FILE: spec.training.steps: Input should be greater than or equal to 1",
        "FILE: spec.training.learningRate: String should match pattern '^[0-9]+(\\.[0-9]+)?([eE]-?[0-9]{1,2})?$'",
        "FILE: spec.training.stepz: Extra inputs are not permitted",
    ]


def test_a_rule_over_several_fields_names_them(tmp_path: Path) -> None:
    ended = run_trainer("plan", write_object(tmp_path, make_spec(training={"patience": 2})))
    assert ended.returncode == 64
    (line,) = lines_of(ended)
    assert line.endswith("run.yaml: spec: training.patience needs training.evalEverySteps")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["plan"], "the following arguments are required: spec"),
        (["train"], "invalid choice: 'train'"),
        (["plan", "x.yaml", "--volume", "speech"], "'speech' is not CLAIM=FOLDER"),
        (["run", "x.yaml", "--volume", "speech=/no/such"], "folder '/no/such' of claim 'speech' does not exist"),
        (["run", "x.yaml", "--accelerator", "ipu"], "invalid choice: 'ipu'"),
    ],
)
def test_wrong_arguments_get_one_line_and_64(arguments: list[str], says: str) -> None:
    ended = run_trainer(*arguments)
    assert ended.returncode == 64
    (line,) = lines_of(ended)
    assert says in line


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    ended = run_trainer("run", tmp_path / "no.yaml")
    assert ended.returncode == 64
    result = TrainingResult.model_validate_json(ended.stdout.splitlines()[-1])
    assert (result.reason, result.message) == (
        "ConfigInvalid",
        f"{tmp_path}/no.yaml: cannot be read: No such file or directory",
    )
    assert lines_of(ended)[-1].endswith("cannot be read: No such file or directory")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "$WHISPER_FINETUNE_CONFIG is not set"),
        ("{", "$WHISPER_FINETUNE_CONFIG: the object: Invalid JSON"),
        ("{}", "$WHISPER_FINETUNE_CONFIG: name: Field required; namespace: Field required; uid: Field required"),
    ],
    ids=["missing", "no JSON", "empty"],
)
def test_a_pod_without_a_valid_configuration_says_so_in_its_message(
    tmp_path: Path, value: str | None, says: str
) -> None:
    log = tmp_path / "termination-log"
    environment = {} if value is None else {CONFIG_ENV: value}
    ended = run_trainer("--termination-log", log, environment=environment)
    assert ended.returncode == 64
    result = TrainingResult.model_validate_json(log.read_bytes())
    assert result.reason == "ConfigInvalid"
    assert result.message.startswith(says)
    assert lines_of(ended)


def test_a_pod_whose_output_is_not_at_hand_ends_before_it_reads_anything(tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    config = make_config(make_spec(output={"uri": "pvc://archive/runs"}), tmp_path, scratch=tmp_path / "scratch")
    ended = run_trainer("--termination-log", log, environment={CONFIG_ENV: config.model_dump_json(by_alias=True)})
    assert ended.returncode == 64
    result = TrainingResult.model_validate_json(log.read_bytes())
    assert "output.uri: claim archive is not mounted here" in result.message
    assert lines_of(ended)


def test_help_says_what_the_exit_codes_mean() -> None:
    ended = run_trainer("--help")
    assert ended.returncode == 0
    assert "73 output cannot be written" in ended.stdout
