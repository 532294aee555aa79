"""The operator takes what pods and admins write, or refuses it with a reason. It never ends in a traceback."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import strategies as st

from fuzz.fuzzing import damaged, for_a_while, json_values, objects
from repository import ROOT
from run_objects import DONE, UID, at, ended, job, run_object
from run_objects import progress as good_progress
from whisper_finetune_operator.deciding import decisions
from whisper_finetune_operator.planning import runtimes
from whisper_finetune_operator.planning.runtimes import Runtimes, RuntimesError
from whisper_finetune_operator.progress_client import BODY_MAX_BYTES, RefusedAnswerError, read_answer
from whisper_finetune_operator.runs import Run
from whisper_finetune_operator.world import World

pytestmark = pytest.mark.slow

OFFERED = Runtimes.model_validate(
    {"defaultRuntime": "cpu", "runtimes": [{"name": "cpu", "accelerator": "cpu", "image": "trainer:1"}]}
)


def _written(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _answers(good: dict[str, Any]) -> st.SearchStrategy[bytes]:
    return damaged(st.one_of(objects(good), json_values()).map(_written))


def test_progress() -> None:
    good = json.loads(good_progress(10).model_dump_json(by_alias=True, exclude_none=True))

    def read(answer: bytes) -> None:
        try:
            report = read_answer(answer, UID)
        except RefusedAnswerError:
            return
        assert report.model.uid == UID
        rendered = json.dumps(report.model.to_json_object(), ensure_ascii=False)
        assert (rendered + report.remark()).isprintable(), ascii(rendered)

    for_a_while(read, _answers(good))


def test_termination_messages() -> None:
    def decide(message: bytes) -> None:
        text = message.decode("utf-8", "replace")
        pod = ended(20, 21, 60, 0)
        (container,) = pod["status"]["containerStatuses"]
        container["state"]["terminated"]["message"] = text
        world = World(Run.from_object(_versioned(run_object())), _versioned(job()), (pod,), None, None, at(61))
        status = decisions.decide(world, OFFERED).status
        rendered = json.dumps(status.to_json_object(), ensure_ascii=False)
        assert rendered.isprintable(), ascii(rendered)

    for_a_while(decide, _answers({**DONE, "uid": UID}))


def _versioned(known: dict[str, Any]) -> dict[str, Any]:
    return {**known, "metadata": {**known["metadata"], "resourceVersion": "1"}}


def test_runtimes_file(tmp_path: Path) -> None:
    good = yaml.safe_load((ROOT / "docs/examples/runtimes.yaml").read_text(encoding="utf-8"))
    file = tmp_path / "runtimes.yaml"

    def load(content: bytes) -> None:
        file.write_bytes(content)
        try:
            offered = runtimes.load_runtimes(file)
        except RuntimesError as refused:
            said = str(refused)
        else:
            assert offered.runtimes
            return
        assert said.isprintable(), ascii(said)

    def with_runtimes(changed: list[dict[str, Any]]) -> bytes:
        return yaml.safe_dump({**copy.deepcopy(good), "runtimes": changed}, allow_unicode=True).encode(
            "utf-8", "surrogatepass"
        )

    each = st.sampled_from(good["runtimes"]).flatmap(objects)
    for_a_while(load, damaged(st.lists(each, max_size=3).map(with_runtimes)))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("piece", [b"[", b'{"progress":', b"- ", b"? ", b"&a [*a,", b"x: &a\n", b'"\\u0000', b"9"])
def test_no_depth_and_no_length_is_too_much(tmp_path: Path, piece: bytes) -> None:
    long = piece * (BODY_MAX_BYTES // len(piece))
    with pytest.raises(RefusedAnswerError):
        read_answer(long, UID)
    (tmp_path / "runtimes.yaml").write_bytes(long[:20_000])
    with pytest.raises(RuntimesError):
        runtimes.load_runtimes(tmp_path / "runtimes.yaml")
