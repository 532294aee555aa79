"""Reading what another version wrote: known parts are kept, unknown ones are named, and invalid ones are refused."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from filled_schema import filled
from whisper_finetune_api import crd, reading
from whisper_finetune_api.run import TrainingResult
from whisper_finetune_api.v1alpha1 import WhisperFineTuneStatus

GOOD: dict[str, Any] = {"step": 1, "totalSteps": 5, "percent": 20, "loss": "1.5000"}
#: ESC, a C1 control, an override of the direction of writing, separators of lines and paragraphs, DEL, a newline.
STEERING = "\x1b[2J\x9b\u202e\u2028\u2029\x7f\n"


def test_what_is_understood_comes_out_whole() -> None:
    found = reading.read_leniently(WhisperFineTuneStatus, {"progress": GOOD})
    assert found.model.progress is not None
    assert found.model.progress.to_json_object() == GOOD
    assert (found.left_out, found.remark()) == ((), "")


@pytest.mark.parametrize(
    ("progress", "left", "remark"),
    [
        ({**GOOD, "clips": 7}, GOOD, "progress.clips: not known to this version"),
        ({**GOOD, "loss": "NaN"}, {**GOOD, "loss": None}, "progress.loss: String should match pattern"),
        ({**GOOD, "loss": None}, {**GOOD, "loss": None}, ""),
        ({**GOOD, "percent": 101}, None, "progress.percent: Input should be less than or equal to 100"),
        ({"step": 1}, None, "progress: totalSteps is missing"),
        ([GOOD], None, "progress: Input should be a valid dictionary"),
    ],
    ids=["unknown field", "optional and malformed", "absent", "required and malformed", "incomplete", "another kind"],
)
def test_the_smallest_part_that_can_be_done_without_is_left_out(
    progress: Any, left: dict[str, Any] | None, remark: str
) -> None:
    found = reading.read_leniently(WhisperFineTuneStatus, {"observedGeneration": 3, "progress": progress})
    assert found.model.observed_generation == 3
    expected = {key: value for key, value in left.items() if value is not None} if left else None
    assert (found.model.progress.to_json_object() if found.model.progress else None) == expected
    assert found.remark().startswith(remark)


def test_an_item_of_a_list_is_left_out_alone() -> None:
    checkpoints = [{"step": step, "path": path} for step, path in ((1, "/etc"), (2, "model"), (3, "../model"))]
    found = reading.read_leniently(TrainingResult, {"checkpoints": checkpoints})
    assert [checkpoint.step for checkpoint in found.model.checkpoints] == [2]


@pytest.mark.parametrize("essential", [{"uid": 7}, {"uid": "u" * 65}, {"reason": ["DatasetInvalid"]}])
def test_what_is_essential_does_not_read_as_absent(essential: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        reading.read_leniently(TrainingResult, {**essential, "message": "all is well"}, ("uid", "reason"))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "7", "{", '{"seconds": NaN}', '{"seconds": Infinity}', "[" * 10_000, '{"message": "\\ud800"}'],
    ids=["nothing", "list", "number", "cut off", "NaN", "infinity", "nested", "half a character"],
)
def test_what_is_no_object_of_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|EOF|expected|hex escape|recursion|dictionary|number"):
        reading.read_json_leniently(TrainingResult, text)


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return [value] if isinstance(value, str) else []


def test_no_text_of_a_pod_steers_a_terminal_or_a_page() -> None:
    answer = filled(crd.structural_schema(TrainingResult), STEERING)
    sent = [text for text in _texts(answer) if text == STEERING]
    assert len(sent) >= 6, "uid, normalizer, hardware, software, reason, message"
    found = reading.read_json_leniently(TrainingResult, json.dumps(answer))
    assert found.left_out == ()
    texts = _texts(found.model.to_json_object())
    assert texts.count(" [2J      ") == len(sent)
    assert all(text.isprintable() for text in texts)


def test_letters_of_all_scripts_stay() -> None:
    text = "Gli Ünïcödé, हिन्दी, 日本語, עברית, العربية: 100 % → ½"
    assert reading.printable_text(text) == text


def test_a_remark_is_short_whatever_it_is_about() -> None:
    found = reading.read_leniently(TrainingResult, {f"{number}{'x' * 500}": number for number in range(1000)})
    assert found.remark().endswith("; and 995 more")
    assert len(found.remark()) < 700


def test_unknown_fields_are_kept_where_their_place_is_left() -> None:
    found = {
        "gpuHours": "1.0",
        "progress": {**GOOD, "evaluated": {"clips": 7}},
        "metric": {"name": "wer", "normalizer": "Basic", "scale": 100},
        "checkpoints": [{"step": 1, "uri": "s3://runs/1", "size": 5}],
        "state": "Dreaming",
    }
    understood = reading.read_leniently(WhisperFineTuneStatus, found)
    written = {"state": "Training", "progress": {**GOOD, "step": 2}, "checkpoints": []}
    assert reading.keep_unknown_fields(found, understood, written) == {
        "state": "Training",
        "gpuHours": "1.0",
        "progress": {**GOOD, "step": 2, "evaluated": {"clips": 7}},
        "checkpoints": [],
    }
