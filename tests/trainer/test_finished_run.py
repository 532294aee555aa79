"""What is left to do once a run's model is whole, on a volume: latest.json names it, where it is accepted."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

import tiny_whisper
import tones
from trainer_attempts import Volume
from trainer_configs import FOLDER


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    tiny_whisper.build(tmp_path / "speech/model")
    tones.write_clips(tmp_path / "speech/clips", 12)
    return Volume(tmp_path / "speech", tmp_path)


@pytest.mark.slow
def test_a_latest_json_that_cannot_be_written_does_not_undo_a_whole_model(
    volume: Volume, caplog: pytest.LogCaptureFixture
) -> None:
    (volume.folder / "it/latest.json").mkdir(parents=True)
    ended = volume.attempt(volume.config(steps=2))
    assert (ended.exit_code, ended.result.reason) == (0, None), ended.result.message
    assert volume.names("model")
    assert not any(volume.names("resume"))
    assert "cannot name this run in latest.json: [Errno 21]" in caplog.text
    assert "no new run is needed; let runs read and write latest.json in output.uri" in caplog.text


@pytest.mark.slow
def test_a_run_whose_model_is_not_accepted_leaves_latest_json_to_the_last_accepted_one(
    volume: Volume, caplog: pytest.LogCaptureFixture
) -> None:
    last_accepted = {"run": "earlier-12345678", "model": "earlier-12345678/model"}
    (volume.folder / "it").mkdir(parents=True)
    (volume.folder / "it/latest.json").write_text(json.dumps(last_accepted), encoding="utf-8")
    # Two steps by next to nothing change no word.
    config = volume.config(spec={"acceptance": {"requireBetter": True}}, steps=2, learningRate="1e-9")
    ended = volume.attempt(config)
    assert (ended.exit_code, ended.result.reason) == (0, None), ended.result.message
    judged = ended.result.acceptance
    assert judged is not None
    assert (judged.accepted, judged.reason) == (False, "NotBetter")
    assert ended.result.message.endswith("; verdict: NotShown; not accepted (NotBetter)")
    assert volume.json("../latest.json") == last_accepted
    assert "not accepted, so latest.json is left as it is: the verdict is NotShown" in caplog.text
    assert "**Not accepted**: the verdict is NotShown" in (volume.run / "model/README.md").read_text(encoding="utf-8")
    assert "Not accepted: the verdict is NotShown" in (volume.run / "report.html").read_text(encoding="utf-8")
    # An attempt that only reports does not name it either.
    assert volume.attempt(config) == ended
    assert volume.json("../latest.json") == last_accepted


@pytest.mark.slow
def test_a_run_that_holds_what_is_asked_for_is_named(volume: Volume) -> None:
    config = volume.config(spec={"acceptance": {"maxWorsePoints": "0"}}, steps=2, learningRate="1e-9")
    ended = volume.attempt(config)
    assert ended.result.acceptance is not None, ended.result.message
    assert ended.result.acceptance.accepted
    assert volume.json("../latest.json")["run"] == FOLDER


RESTORED = {"uid": "feedface-1111-2222-3333-444455556666", "takes_over": True}


@pytest.mark.slow
def test_a_run_that_was_restored_without_its_status_takes_over_the_model_that_it_had_made(
    volume: Volume, caplog: pytest.LogCaptureFixture
) -> None:
    config = volume.config(steps=2)
    first = volume.attempt(config)
    (volume.folder / "it/latest.json").unlink()
    caplog.set_level(logging.INFO)
    # What neither decides the weights nor the figures may change.
    spec = config.spec.model_copy(update={"retries": 1, "active_deadline_seconds": 60})
    restored = volume.attempt(config.model_copy(update={**RESTORED, "spec": spec}))
    assert restored.exit_code == 0
    assert restored.result == first.result.model_copy(update={"folder": FOLDER})
    assert not (volume.folder / "it/demo-feedface/model").exists()
    assert json.loads((volume.folder / "it/latest.json").read_bytes())["run"] == FOLDER
    assert "pvc://runs/it/demo-0badcafe was made from the same spec, data and model" in caplog.text


def _with_another_text(volume: Volume) -> None:
    listed = volume.speech / "clips/train.jsonl"
    listed.write_text(listed.read_text(encoding="utf-8").replace('"text": "', '"text": "uno ', 1), encoding="utf-8")


def _with_another_model(volume: Volume) -> None:
    tiny_whisper.build(volume.speech / "model", init_std=0.03)


def _without_a_file_of_the_model(volume: Volume) -> None:
    (volume.run / "model/config.json").unlink()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "fields"),
    [
        (_with_another_text, {}),
        (_with_another_model, {}),
        (_without_a_file_of_the_model, {}),
        (lambda _: None, {"name": "another"}),
        # An operator that does not read in which folder a result lies would name one that does not exist.
        (lambda _: None, {"takes_over": None}),
    ],
    ids=["text", "model", "damaged", "name", "older operator"],
)
def test_a_run_that_is_made_from_something_else_trains(
    volume: Volume, change: Callable[[Volume], None], fields: dict[str, object]
) -> None:
    config = volume.config(steps=1)
    assert volume.attempt(config).exit_code == 0
    change(volume)
    again = volume.attempt(config.model_copy(update={**RESTORED, **fields}))
    assert again.exit_code == 0, again.result.message
    assert again.result.folder is None
    assert (volume.folder / f"it/{fields.get('name', 'demo')}-feedface/model").is_dir()
