"""Two versions together, both ways. The code of the version before comes from the repository's history.

It runs in a process of its own. It is the newest release's, else that of the last commit before there was a contract,
which refuses every field that it does not know. What does not work with that commit is tested as docs/upgrades.md
describes it.
"""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

import other_version
from filled_schema import filled
from repository import ROOT
from run_objects import DONE, RUNTIMES, UID, ended, golden_job, job, job_failed, run_object, world
from whisper_finetune_api import contract, crd
from whisper_finetune_api.run import CONFIG_ENV, TrainerReport, TrainingResult
from whisper_finetune_operator.deciding import decisions
from whisper_finetune_operator.workloads import endings, pods
from whisper_finetune_operator.workloads.endings import Meaning

pytestmark = pytest.mark.slow
BEFORE_CONTRACTS = "64b4dfa"


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", "-C", ROOT, *arguments], check=True, capture_output=True).stdout


def unpacked(commit: str, folder: Path) -> Path:
    try:
        tree = git("archive", commit, "crds", "operator", "trainer", "tests/golden")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"no commit {commit} in this checkout: fetch the whole history")
    with tarfile.open(fileobj=io.BytesIO(tree)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def without_contract(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the last version that refuses what it does not know."""
    return unpacked(BEFORE_CONTRACTS, tmp_path_factory.mktemp("without_contract"))


@pytest.fixture(scope="module")
def previous(without_contract: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the version before this one."""
    tags = git("tag", "--list", "v*", "--sort=-v:refname", "--merged", "HEAD").decode().split()
    return unpacked(tags[0], tmp_path_factory.mktemp("previous")) if tags else without_contract


def ask_previous(folder: Path, *asked: tuple[str, Any]) -> list[Any]:
    """Return what the version before answers to each ask of other_version.py."""
    roots = os.pathsep.join(str(folder / root) for root in ("crds", "operator", "trainer"))
    ran = subprocess.run(
        [sys.executable, other_version.__file__],
        input=json.dumps(asked),
        env={**os.environ, "PYTHONPATH": roots},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    answers: list[Any] = json.loads(ran.stdout)
    return answers


def golden(folder: Path, kind: str) -> list[Path]:
    """Return a version's own golden objects of one kind."""
    found = sorted((folder / "tests/golden").glob(f"{kind}-*.yaml"))
    assert found
    return found


def told_to_trainers(folder: Path) -> list[dict[str, str]]:
    """Return what a version's operator tells its trainers."""
    return [environment_of(golden_job(path)) for path in golden(folder, "job")]


def environment_of(made: dict[str, Any]) -> dict[str, str]:
    """Return what a Job tells its trainer."""
    (container,) = made["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


def newer_by_one_field(environment: dict[str, str]) -> dict[str, str]:
    config = json.loads(environment[CONFIG_ENV])
    config["spec"]["training"]["weightDecay"] = "0.1"
    return {**environment, CONFIG_ENV: json.dumps(config)}


# this operator, the trainer before


def test_the_trainer_before_takes_this_operators_configuration(previous: Path) -> None:
    asked = [("trainer_reads_config", sent) for sent in told_to_trainers(ROOT)]
    assert ask_previous(previous, *asked) == [[0, None, ""]] * len(asked)


def test_what_the_trainer_before_cannot_do_waits(previous: Path) -> None:
    sent = newer_by_one_field(told_to_trainers(ROOT)[0])
    ((code, reason, message),) = ask_previous(previous, ("trainer_reads_config", sent))
    says = {"stage": "Preparing", "reason": reason, "message": message}
    pod = ended(2, 5, 6, code, says)
    assert endings.meaning_of_end(pods.read_pod(pod), None) is Meaning.MISMATCH
    over = job(job_failed(7, "PodFailurePolicy", f"Container trainer failed with exit code {code} matching"))
    decided = decisions.decide(world(run_object(), 8, job=over, pods=(pod,)), RUNTIMES)
    (told,) = [each for each in decided.status.conditions if each.type == "Succeeded"]
    assert (decided.status.state, told.reason) == ("Pending", "VersionMismatch")
    assert "weightDecay" in told.message


def test_this_operator_takes_the_result_of_the_trainer_before(previous: Path) -> None:
    (schemas,) = ask_previous(previous, ("schemas", None))
    known = {key: value for key, value in DONE.items() if key in schemas["TrainingResult"]["properties"]}
    last_words = pods.read_last_words(json.dumps(known), UID)
    assert last_words.result is not None
    assert last_words.remark == ""


# this trainer, the operator before


def test_this_trainer_takes_the_configuration_of_the_operator_before(previous: Path) -> None:
    for sent in told_to_trainers(previous):
        assert other_version.trainer_reads_config(sent) == [0, None, ""]


def test_an_operator_without_a_contract_takes_all_that_this_trainer_may_answer(without_contract: Path) -> None:
    """Where this fails, a field or a word is new: see LATER in contract.py."""
    good_end = {"uid": UID, "reason": None}
    whole = TrainingResult.model_validate({**filled(crd.structural_schema(TrainingResult), "text"), **good_end})
    told = TrainerReport.model_validate({**filled(crd.structural_schema(TrainerReport), "text"), "uid": UID})
    ending = json.dumps(contract.answer_for_operator(whole, 0))
    progress = json.dumps(contract.answer_for_operator(told, 0))
    asked = (("operator_reads_result", [ending, UID]), ("operator_reads_progress", [progress, UID]))
    assert ask_previous(without_contract, *asked) == [True, True]


def test_an_operator_without_a_contract_gets_no_number(without_contract: Path) -> None:
    assert set(map(contract.number_in_environment, told_to_trainers(without_contract))) == {0}


# the status and the volumes outlive both


def test_a_status_of_the_operator_before_is_read_whole(previous: Path) -> None:
    for path in golden(previous, "status"):
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        decided = decisions.decide(world(run_object(status=found), 5000), RUNTIMES)
        assert decided.remarks == ()
        if found["state"] in ("Succeeded", "Failed"):
            assert (decided.status.state, decided.actions) == (found["state"], ())


def test_an_operator_without_a_contract_reads_no_status_of_this_one(without_contract: Path) -> None:
    """As docs/upgrades.md says: whoever goes back to contract 0 ends with operators that look at such runs in vain."""
    found = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in golden(ROOT, "status")]
    answers = ask_previous(without_contract, *(("operator_reads_status", status) for status in found))
    assert answers == [False] * len(found)


def test_checkpoints_are_known_by_the_same_digest(previous: Path) -> None:
    specs = [json.loads(sent[CONFIG_ENV])["spec"] for sent in told_to_trainers(ROOT)]
    answers = ask_previous(previous, *(("trainer_digests_spec", spec) for spec in specs))
    assert answers == [other_version.trainer_digests_spec(spec) for spec in specs]


def test_a_folder_of_the_trainer_before_is_gone_on_from(previous: Path, tmp_path: Path) -> None:
    (tmp_path / "state.bin").write_bytes(b"weights")
    (written,) = ask_previous(previous, ("trainer_writes_manifest", str(tmp_path)))
    assert other_version.trainer_reads_manifest(written)


def test_a_trainer_without_a_contract_begins_anew_where_this_one_wrote(without_contract: Path, tmp_path: Path) -> None:
    """As docs/upgrades.md says."""
    (tmp_path / "state.bin").write_bytes(b"weights")
    written = other_version.trainer_writes_manifest(str(tmp_path))
    assert other_version.trainer_reads_manifest(written)
    assert ask_previous(without_contract, ("trainer_reads_manifest", written)) == [False]
