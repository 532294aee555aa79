"""Data sets of the Hub by their ids: the real huggingface_hub with a double of the Hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hub_dataset_double
import hub_sets
from repository import ROOT
from whisper_finetune_trainer.data.hub import known_datasets

pytestmark = pytest.mark.slow

#: Loads one data set after the other in a process of its own: the library reads its endpoint once, when it is imported.
LOAD = """
import json, os, sys
import trainer_configs
import clip_loading
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.messages.errors import TrainerError
answers = {}
for name, (changes, token) in json.load(sys.stdin).items():
    os.environ["HF_TOKEN"] = token
    try:
        config = trainer_configs.config_on(sys.argv[1], changes)
        if config.spec.evaluations:
            answers[name] = {"clips": len(clip_loading.load_evaluation(config, config.spec.evaluations[0]).clips)}
            continue
        found = clip_loading.load_clips(config)
        for clip in found.train.listed:
            decoding.read_samples(clip.audio)
        texts = sorted(clip.text for clip in (*found.train.listed, *found.evaluation))
        answers[name] = {"texts": texts, "train": len(found.train.listed), "dropped": dict(found.dropped)}
    except TrainerError as error:
        answers[name] = {"reason": error.reason, "message": error.message}
print(json.dumps(answers))
"""
WORDS = sorted(hub_sets.WORDS)


def spec(source: str, language: str, **fields: Any) -> dict[str, Any]:
    return {
        "language": language,
        **{f"dataset.{name}": value for name, value in {"source": source, **fields}.items()},
    }


#: A spec of source and language, and the texts it gives.
KNOWN: dict[str, tuple[dict[str, Any], list[str]]] = {
    "OpenSLR": (spec("openslr/openslr", "ca", config="SLR69"), WORDS),
    "OpenSLR by language": (spec("openslr/openslr", "ca"), WORDS),
    "VoxPopuli": (spec("facebook/voxpopuli", "it"), sorted(WORDS * 2)),
    "FLEURS": (spec("google/fleurs", "catalan", evalSplit="test", maxTrainClips=3), []),
    "Multilingual LibriSpeech": (spec("facebook/multilingual_librispeech", "it"), WORDS),
    "LibriSpeech": (spec("openslr/librispeech_asr", "en"), WORDS),
    "GigaSpeech": (spec("speechcolab/gigaspeech", "en"), ["five!", "one, two.", "three four?"]),
    "People's Speech": (spec("MLCommons/peoples_speech", "en"), WORDS),
    "People's Speech, with its test split": (
        spec("MLCommons/peoples_speech", "en", evalSplit="test"),
        sorted(WORDS * 2),
    ),
    "AMI": (spec("edinburghcstr/ami", "en"), WORDS),
    "AMI by its files": (spec("hf://edinburghcstr/ami/ihm", "en"), WORDS),
    "TEDLIUM": (spec("LIUM/tedlium", "en"), ["five", "it's one", "they'll four", "two three"]),
    "GigaSpeech as it is": (
        spec("speechcolab/gigaspeech", "en", textRules="None"),
        sorted(hub_sets.GIGA_TEXTS),
    ),
}
OTHERS: dict[str, dict[str, Any]] = {
    "card": spec("team/carded", "en"),
    "revision": spec("team/carded", "en", revision="v1"),
    "files of a repository": spec("hf://team/folder", "it"),
    "partial and accepted": spec("facebook/voxpopuli", "en", allowPartial=True),
}
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "partial": (spec("facebook/voxpopuli", "en"), "DatasetInvalid", "is partial: it ends after about the first 5 GB"),
    "left": (spec("mozilla-foundation/common_voice_11_0", "ca", config="ca"), "DatasetNotFound", "left the Hub in Oct"),
    "missing": (spec("team/nothing", "en"), "DatasetNotFound", "the Hub has no team/nothing, or it is private"),
    "no Parquet": (spec("team/script", "en"), "DatasetInvalid", "a data set's code is never run here"),
    "revision": (spec("team/carded", "en", revision="v9"), "DatasetNotFound", "team/carded has no revision v9"),
    "revision of a script": (
        spec("google/fleurs", "ca", revision="main"),
        "ConfigInvalid",
        "leave dataset.revision out",
    ),
    "split": (spec("google/fleurs", "ca", evalSplit="dev"), "DatasetNotFound", "has no split dev; it has test, train"),
    "config": (spec("google/fleurs", "ca", config="xx"), "DatasetNotFound", "has no configuration xx; those with this"),
    "several configs of English": (
        spec("openslr/openslr", "en"),
        "ConfigInvalid",
        "give one; those with this language are SLR70, SLR83",
    ),
    "several configs": (
        spec("openslr/openslr", "es"),
        "ConfigInvalid",
        "give one; those with this language are SLR71, ",
    ),
    "language without a config": (
        spec("openslr/openslr", "it"),
        "ConfigInvalid",
        "give one; it has SLR69, SLR71, SLR72",
    ),
    "column": (
        spec("openslr/openslr", "ca", textColumn="words"),
        "DatasetInvalid",
        "its columns are path, audio, sent",
    ),
    "revision of a folder": (
        spec("hf://team/folder", "it", revision="v1"),
        "ConfigInvalid",
        "for data sets of the Hub",
    ),
}


def evaluation(source: str, **fields: Any) -> dict[str, Any]:
    """Return the spec of a run on a folder, with an evaluation on the Hub."""
    return {"language": "en", "evaluations": [{"name": "radio", "source": source, "split": "train", **fields}]}


EVALUATED = {
    "by id": evaluation("openslr/librispeech_asr", split="test"),
    "by its files": evaluation("hf://edinburghcstr/ami/ihm"),
    "of another language": evaluation("openslr/openslr", config="SLR69", language="ca"),
    "of a revision": evaluation("team/carded", revision="v1"),
}
#: An evaluation, the reason, and what the message says.
EVALUATIONS_REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "missing": (evaluation("team/nothing"), "DatasetNotFound", "the Hub has no team/nothing, or it is private"),
    "revision": (evaluation("team/carded", revision="v9"), "DatasetNotFound", "team/carded has no revision v9"),
    "split": (evaluation("team/carded", split="dev"), "DatasetNotFound", "has no split dev; it has"),
    "config": (
        evaluation("openslr/openslr", config="xx", language="ca"),
        "DatasetNotFound",
        "has no configuration xx",
    ),
    "language": (evaluation("openslr/openslr", language="it"), "ConfigInvalid", "give one; it has SLR69"),
    "gated": (
        evaluation("speechcolab/gigaspeech"),
        "AccessDenied",
        "https://huggingface.co/datasets/speechcolab/gigaspeech",
    ),
}
GATED = {"gated": spec("speechcolab/gigaspeech", "en")}


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def answers(repositories: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what becomes of every spec, by its name."""
    specs = {
        **{f"known {name}": (case, hub_dataset_double.TOKEN) for name, (case, _) in KNOWN.items()},
        **{f"other {name}": (case, "") for name, case in OTHERS.items()},
        **{f"refused {name}": (case, "") for name, (case, _, _) in REFUSED.items()},
        **{f"refused {name}": (case, "") for name, case in GATED.items()},
        **{f"evaluated {name}": (case, "") for name, case in EVALUATED.items()},
        **{f"evaluation refused {name}": (case, "") for name, (case, _, _) in EVALUATIONS_REFUSED.items()},
    }
    scratch = tmp_path_factory.mktemp("scratch")
    with hub_dataset_double.serving(hub_sets.make(repositories)) as endpoint:
        process = subprocess.run(
            [sys.executable, "-c", LOAD, scratch],
            input=json.dumps(specs),
            env=environment(endpoint, scratch),
            capture_output=True,
            text=True,
            check=False,
        )
    assert process.returncode == 0, process.stderr[-4000:]
    found: dict[str, Any] = json.loads(process.stdout)
    return found


def environment(endpoint: str, cache: Path) -> dict[str, str]:
    paths = [str(ROOT / part) for part in ("crds", "trainer", "tests", "tests/trainer")]
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_XET": "1",
    }


@pytest.mark.parametrize("name", [name for name in KNOWN if name != "FLEURS"])
def test_known_sets_need_a_source_and_a_language_only(answers: dict[str, Any], name: str) -> None:
    assert answers[f"known {name}"].get("texts") == KNOWN[name][1], answers[f"known {name}"]


def test_every_set_of_the_table_is_tried() -> None:
    assert {known.name for known in known_datasets.KNOWN} <= set(KNOWN)


def test_splits_that_are_given(answers: dict[str, Any]) -> None:
    found = answers["known FLEURS"]
    assert (found.get("train"), len(found.get("texts", ""))) == (3, 8)
    assert set(found["texts"]) == set(WORDS)


def test_what_text_rules_leave_out_is_counted(answers: dict[str, Any]) -> None:
    assert answers["known GigaSpeech"]["dropped"] == {"text rule NoSpeech": 2}
    assert answers["known TEDLIUM"]["dropped"] == {"text rule NotScored": 1}
    assert answers["known GigaSpeech as it is"]["dropped"] == {}


@pytest.mark.parametrize(("name", "count"), {"card": 10, "revision": 4, "files of a repository": 10}.items())
def test_other_sets(answers: dict[str, Any], name: str, count: int) -> None:
    assert len(answers[f"other {name}"].get("texts", "")) == count, answers[f"other {name}"]


def test_a_partial_conversion_may_be_accepted(answers: dict[str, Any]) -> None:
    assert answers["other partial and accepted"].get("texts") == WORDS


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(answers: dict[str, Any], name: str) -> None:
    _, reason, says = REFUSED[name]
    found = answers[f"refused {name}"]
    assert (found.get("reason"), says in found.get("message", "")) == (reason, True), found


@pytest.mark.parametrize("name", EVALUATED)
def test_an_evaluation_on_the_hub_is_read(answers: dict[str, Any], name: str) -> None:
    assert answers[f"evaluated {name}"].get("clips", 0) > 0, answers[f"evaluated {name}"]


@pytest.mark.parametrize("name", EVALUATIONS_REFUSED)
def test_an_evaluation_that_the_hub_does_not_give_is_refused_by_its_name(answers: dict[str, Any], name: str) -> None:
    _, reason, says = EVALUATIONS_REFUSED[name]
    found = answers[f"evaluation refused {name}"]
    assert (found.get("reason"), says in found.get("message", "")) == (reason, True), found
    assert found["message"].startswith("evaluation radio: ")


def test_a_gated_set_names_the_page_to_visit(answers: dict[str, Any]) -> None:
    found = answers["refused gated"]
    assert found["reason"] == "AccessDenied"
    assert "https://huggingface.co/datasets/speechcolab/gigaspeech" in found["message"]


def test_no_script_of_a_data_set_is_run(answers: dict[str, Any], repositories: Path) -> None:
    assert (repositories / "team/script/main/script.py").is_file()
    assert not (repositories / "ran").exists()
