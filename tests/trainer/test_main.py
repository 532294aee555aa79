"""The trainer's command line: what it prints, and how it ends where its arguments are wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

import tones
from repository import ROOT
from trainer_configs import make_config, make_spec
from whisper_finetune_api.run import CONFIG_ENV, TrainingResult
from whisper_finetune_trainer.entrypoints import arguments, workstation


def run_trainer(*arguments: object, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the trainer and return how it ended."""
    command = [sys.executable, "-m", "whisper_finetune_trainer", *map(str, arguments)]
    inherited = {name: value for name, value in os.environ.items() if name != CONFIG_ENV}
    paths = os.pathsep.join(str(ROOT / name) for name in ("crds", "trainer"))
    everything = {**inherited, "PYTHONPATH": paths, **(environment or {})}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=everything, timeout=120)


class Plan(NamedTuple):
    """How `plan` ended."""

    returncode: int
    stdout: str
    stderr: str


class Planner:
    """Runs `plan` in this process: one of its own takes a second to start."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self._captured = captured

    def __call__(self, *command_line: object) -> Plan:
        try:
            code = workstation.print_plan(arguments.parse_arguments(["plan", *map(str, command_line)]))
        except SystemExit as error:
            code = int(error.code or 0)
        return Plan(code, *self._captured.readouterr())


@pytest.fixture
def plan(capsys: pytest.CaptureFixture[str]) -> Planner:
    return Planner(capsys)


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


def lines_of(ended: subprocess.CompletedProcess[str] | Plan) -> Sequence[str]:
    assert "Traceback" not in ended.stderr
    return ended.stderr.splitlines()


def test_a_plan_is_printed_and_nothing_is_done(plan: Planner, tmp_path: Path) -> None:
    spec = make_spec(model="openai/whisper-base", training={"steps": 100, "evalEverySteps": 50, "trainable": "Decoder"})
    ended = plan(write_object(tmp_path, spec))
    assert ended.returncode == 0, ended.stderr
    planned = json.loads(ended.stdout)
    assert planned.pop("runFolder").startswith("pvc://speech/runs/demo-")
    memory = planned.pop("memory")
    assert (memory["weights"], memory["moments"]) == (4 * 72593920, 8 * 52003328)
    assert planned.pop("memoryBytes") == memory["peak"] > 4 * 72593920
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
        "loader": {"kind": "Threads", "workers": 0, "sharedMemoryBytes": 0},
        "trainedParameters": 52003328,
        "parameters": 72593920,
    }
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


def test_a_plan_says_how_clips_are_packed(plan: Planner, tmp_path: Path) -> None:
    spec = make_spec(model="openai/whisper-base", training={"packing": "Any", "promptRate": "0.2"})
    ended = plan(write_object(tmp_path, spec))
    packing = {"clips": "Any", "batchSizeCounts": "Windows", "timestampRate": 0.5, "promptRate": 0.2}
    assert json.loads(ended.stdout)["packing"] == packing


def test_a_plan_says_what_else_is_measured(plan: Planner, tmp_path: Path) -> None:
    radio, spanish = {"name": "radio", "source": "pvc://speech/radio"}, {"name": "spanish", "source": "google/fleurs"}
    more = {"config": "es_419", "language": "es", "maxClips": 200}
    spec = make_spec(model="openai/whisper-base", evaluations=[radio, {**spanish, **more}])
    ended = plan(write_object(tmp_path, spec))
    assert ended.returncode == 0, ended.stderr
    usual = {"split": "test", "language": "it", "task": "transcribe", "maxClips": 500}
    assert json.loads(ended.stdout)["evaluations"] == [{**usual, **radio}, {**usual, **spanish, **more}]


def test_a_plan_of_an_id_that_the_hub_cannot_have_lacks_the_memory(plan: Planner, tmp_path: Path) -> None:
    ended = plan(write_object(tmp_path, make_spec(model="team/my--whisper")))
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["modelConfigRead"] is False


BASE = {
    "model_type": "whisper",
    "d_model": 512,
    "encoder_layers": 6,
    "decoder_layers": 6,
    "decoder_attention_heads": 8,
    "vocab_size": 51865,
    "num_mel_bins": 80,
}


def test_a_plan_reads_the_models_own_configuration_where_its_volume_is_given(plan: Planner, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps(BASE), encoding="utf-8")
    path = write_object(tmp_path, make_spec())
    planned = json.loads(plan(path, "--volume", f"speech={tmp_path}").stdout)
    assert (planned["modelConfigRead"], planned["parameters"]) == (True, 72593920)
    assert "parameters" not in json.loads(plan(path).stdout)


@pytest.mark.parametrize(
    ("content", "exit_code", "says"),
    [
        (None, 66, "config.json of pvc://speech/model cannot be read: No such file or directory"),
        ("{", 64, "config.json of pvc://speech/model is not JSON"),
        ('{"model_type": "bert"}', 64, "config.json of a bert model has no 'd_model'"),
    ],
    ids=["missing", "broken", "another model"],
)
def test_a_plan_for_a_broken_model_folder_says_so(
    plan: Planner, tmp_path: Path, content: str | None, exit_code: int, says: str
) -> None:
    if content is not None:
        (tmp_path / "model").mkdir()
        (tmp_path / "model/config.json").write_text(content, encoding="utf-8")
    ended = plan(write_object(tmp_path, make_spec()), "--volume", f"speech={tmp_path}")
    assert ended.returncode == exit_code
    (line,) = lines_of(ended)
    assert says in line


def test_a_plan_without_the_hub_lacks_the_memory_and_says_why(tmp_path: Path) -> None:
    path = write_object(tmp_path, make_spec(model="team/whisper-own"))
    # A process of its own: the library reads these variables once, when it is loaded.
    ended = run_trainer("plan", path, environment={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)})
    assert ended.returncode == 0
    assert "memoryBytes" not in json.loads(ended.stdout)
    assert "config.json of team/whisper-own cannot be read from the Hub" in lines_of(ended)[-1]


@pytest.mark.slow
def test_a_run_prints_its_result_and_a_second_call_prints_it_again(tmp_path: Path) -> None:
    tiny_whisper = pytest.importorskip(
        "tiny_whisper", reason="the tiny model is made with a newer transformers", exc_type=ImportError
    )
    tiny_whisper.build(tmp_path / "model")
    tones.write_clips(tmp_path / "clips", 10)
    spec = make_spec(training={"steps": 3, "batchSize": 4, "precision": "Float", "maxLabelTokens": 32})
    arguments = (
        "run",
        write_object(tmp_path, spec),
        "--volume",
        f"speech={tmp_path}",
        "--scratch",
        tmp_path / "scratch",
    )
    first = run_trainer(*arguments, environment={"OMP_NUM_THREADS": "1"})
    assert first.returncode == 0, first.stderr
    assert "3/3" in first.stderr
    result = TrainingResult.model_validate_json(first.stdout.splitlines()[-1])
    assert result.model is not None
    (folder,) = (tmp_path / "runs").glob("demo-*")
    assert json.loads((folder / "result.json").read_bytes()) == result.to_json_object()
    assert run_trainer(*arguments).stdout.splitlines()[-1] == first.stdout.splitlines()[-1]


def test_the_same_object_has_the_same_folder_and_another_one_has_not(plan: Planner, tmp_path: Path) -> None:
    def folder(**training: Any) -> str:
        spec = make_spec(model="openai/whisper-base", training=training)
        return str(json.loads(plan(write_object(tmp_path, spec)).stdout)["runFolder"])

    assert folder(steps=10) == folder(steps=10, resumeEverySeconds=30)
    assert folder(steps=10) != folder(steps=11)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "run.yaml: is not YAML: while parsing a flow"),
        ("", "run.yaml: must contain exactly one WhisperFineTune object, and contains 0 documents"),
        ("a: 1\n---\nb: 2", "run.yaml: must contain exactly one WhisperFineTune object, and contains 2 documents"),
        ("- a", "run.yaml: must contain exactly one WhisperFineTune object"),
        ("metadata: demo", "run.yaml: metadata must be an object with a name"),
        ("\x00", "run.yaml: is not YAML: unacceptable character"),
        ("[" * 1_000, "run.yaml: is not YAML: "),
        ("metadata: {name: 2026-02-30}", "run.yaml: is not YAML: day is out of range for month"),
    ],
    ids=["broken", "empty", "two", "a list", "metadata", "binary", "deep", "a day that is none"],
)
def test_a_file_that_is_no_object_gets_one_line(plan: Planner, tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    ended = plan(path)
    assert ended.returncode == 64
    (line,) = lines_of(ended)
    assert says in line


def test_each_wrong_field_gets_its_own_line(plan: Planner, tmp_path: Path) -> None:
    spec = make_spec(language="klingon", training={"steps": 0, "stepz": 1, "learningRate": "fast"})
    path = write_object(tmp_path, spec, kind="Job", metadata={"name": "Demo!"})
    ended = plan(path)
    assert ended.returncode == 64
    assert [line.replace(str(path), "FILE") for line in lines_of(ended)] == [
        "FILE: apiVersion and kind must be whisperfinetune.dev/v1alpha1 and WhisperFineTune",
        "FILE: metadata.name must be a Kubernetes name of at most 52 characters, not 'Demo!'",
        (
            "FILE: spec.language: 'klingon' is not a language Whisper knows; take a code or name of its table, "
            "such as it or italian, and for a language outside of it the nearest one"
        ),
        "FILE: spec.training.steps: Input should be greater than or equal to 1",
        "FILE: spec.training.learningRate: String should match pattern '^[0-9]+(\\.[0-9]+)?([eE]-?[0-9]{1,2})?$'",
        "FILE: spec.training.stepz: Extra inputs are not permitted",
    ]


def test_what_yaml_takes_for_no_text_is_to_be_quoted(plan: Planner, tmp_path: Path) -> None:
    # Norwegian, as it is written without quotes.
    path = write_object(tmp_path, make_spec(language=False, training={"learningRate": 1e-5}))
    ended = plan(path)
    assert ended.returncode == 64
    assert [line.replace(str(path), "FILE") for line in lines_of(ended)] == [
        (
            "FILE: spec.language: without quotes, YAML takes words such as no, off, yes and on for true or false; "
            "write it in quotes"
        ),
        "FILE: spec.training.learningRate: without quotes, YAML takes it for a number; write it in quotes",
    ]


def test_a_rule_over_several_fields_names_them(plan: Planner, tmp_path: Path) -> None:
    ended = plan(write_object(tmp_path, make_spec(training={"patience": 2})))
    assert ended.returncode == 64
    (line,) = lines_of(ended)
    assert line.endswith("run.yaml: spec: training.patience needs training.evalEverySteps")


@pytest.mark.parametrize(
    ("command_line", "says"),
    [
        ([], "the following arguments are required: spec"),
        (["x.yaml", "--volume", "speech"], "'speech' is not CLAIM=FOLDER"),
        (["x.yaml", "--volume", "speech=/no/such"], "folder '/no/such' of claim 'speech' does not exist"),
        (["x.yaml", "--accelerator", "tpu"], "invalid choice: 'tpu'"),
        (["x.yaml", "--accelerator", "ipu", "--ipus", "3"], "invalid choice: 3"),
        (["x.yaml", "--accelerator", "cuda", "--ipus", "4"], "--ipus 4 is for --accelerator ipu, not cuda"),
        (["x.yaml", "--volume", "a=/tmp", "--volume", "a=/"], "--volume: claim 'a' is given 2 folders"),
        (["x.yaml", "--volume", "a=/dev/null"], "'/dev/null' of claim 'a' is not a folder"),
    ],
)
def test_wrong_arguments_get_one_line_and_64(plan: Planner, command_line: list[str], says: str) -> None:
    ended = plan(*command_line)
    assert ended.returncode == 64
    (line,) = lines_of(ended)
    assert says in line


def test_a_scratch_folder_that_cannot_be_made_gets_one_line_and_64(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for command in ("run", "compile"):
        ended = run_trainer(command, write_object(tmp_path, make_spec()), "--scratch", tmp_path / "file" / "scratch")
        assert ended.returncode == 64
        assert lines_of(ended)[-1].endswith(f"--scratch {tmp_path}/file/scratch: Not a directory")


@pytest.mark.parametrize(
    ("ipus", "command_line", "accelerator"),
    [
        (4, (), "ipu"),
        (None, ("--ipus", 8), "ipu"),
        (4, ("--accelerator", "cpu"), "cpu"),
        (None, (), "cpu"),
        (None, ("--accelerator", "cuda"), "cuda"),
    ],
)
def test_a_plan_is_for_what_the_object_asks_for(
    plan: Planner, tmp_path: Path, ipus: int | None, command_line: tuple[object, ...], accelerator: str
) -> None:
    spec = make_spec(model="openai/whisper-small", **({"ipus": ipus} if ipus else {}))
    ended = plan(write_object(tmp_path, spec), *command_line)
    assert ended.returncode == 0, ended.stderr
    planned = json.loads(ended.stdout)
    assert planned["accelerator"] == accelerator
    assert ("ipuConfig" in planned) == (accelerator == "ipu")


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
    ],
    ids=["missing", "no JSON"],
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


def test_an_unknown_command_gets_one_line_and_64() -> None:
    ended = run_trainer("train")
    assert ended.returncode == 64
    (line,) = lines_of(ended)
    assert "invalid choice: 'train'" in line


def test_help_says_what_the_exit_codes_mean() -> None:
    ended = run_trainer("--help")
    assert ended.returncode == 0
    assert "73 output cannot be written" in ended.stdout
