"""The types refuse what the API server refuses, because a spec on a workstation meets no API server."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from filled_schema import filled
from specs import CASES, MINIMAL, Case, with_changes
from whisper_finetune_api import addresses, crd, languages
from whisper_finetune_api.planning import model_dimensions
from whisper_finetune_api.planning.run_plan import make_run_plan, make_schedule, schedule_for_older_trainers
from whisper_finetune_api.run import Accelerator
from whisper_finetune_api.v1alpha1 import (
    ClipSubset,
    Metric,
    Result,
    Training,
    WhisperFineTuneSpec,
    WhisperFineTuneStatus,
    WordErrorRate,
)


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
def test_spec_is_accepted_or_refused(case: Case) -> None:
    spec = with_changes(MINIMAL, case.changes)
    if case.types_say is None:
        assert WhisperFineTuneSpec.model_validate(spec).to_json_object()["model"] == spec["model"]
        return
    with pytest.raises(ValidationError) as refusal:
        WhisperFineTuneSpec.model_validate(spec)
    assert case.types_say in str(refusal.value)


def test_status_starts_as_not_observed() -> None:
    assert WhisperFineTuneStatus().observed_generation == -1


def test_the_richest_status_is_below_20_kilobytes() -> None:
    """Every field is there, and every list is as long as a run can make it. Addresses have 120 letters."""
    schema = crd.structural_schema(WhisperFineTuneStatus)
    whole = filled(schema, "x" * 120)
    for field, node in schema["properties"].items():
        if node["type"] == "array":
            whole[field] *= node["maxItems"]
    # Joined recordings are measured once, and what is measured has no reason why it is not.
    joined = whole["evaluations"][0]
    whole["evaluations"] = [joined, *[{**joined, "recordings": None, "reason": None}] * 8]
    # Two conditions tell at length: Succeeded what was measured, and Accepted what was asked for.
    whole["conditions"] = [{**each, "message": ""} for each in whole["conditions"]]
    for condition in whole["conditions"][:2]:
        condition["message"] = "x" * 1024
    status = WhisperFineTuneStatus.model_validate(whole)
    assert len(status.evaluations or ()) == 9
    assert len(json.dumps(status.to_json_object(), separators=(",", ":"))) < 20_000


def test_objects_are_frozen() -> None:
    spec = WhisperFineTuneSpec.model_validate(MINIMAL)
    with pytest.raises(ValidationError, match="frozen"):
        spec.model = "openai/whisper-small"


@pytest.mark.parametrize(
    ("language", "code"), [("it", "it"), ("italian", "it"), ("castilian", "es"), ("yue", "yue"), ("cantonese", "yue")]
)
def test_language_code(language: str, code: str) -> None:
    assert languages.language_code(language) == code


@pytest.mark.parametrize(
    ("language", "task", "code"),
    [("ja", "transcribe", "ja"), ("ja", "translate", "en"), ("italian", "translate", "en")],
)
def test_translations_are_written_in_english(language: str, task: str, code: str) -> None:
    assert languages.text_language_code(language, task) == code


@pytest.mark.parametrize(
    ("figures", "score"),
    [
        ({"wer": "47.70", "normalizedWer": "28.00"}, "28.00"),
        ({"wer": "100.00", "normalizedWer": "3.85", "cer": "3.85"}, "3.85"),
        ({"score": "3.85", "wer": "100.00", "normalizedWer": "99.00", "cer": "3.85"}, "3.85"),
    ],
    ids=["an older trainer", "an older trainer, by letter", "its own"],
)
def test_every_trainer_has_a_score(figures: dict[str, str], score: str) -> None:
    assert WordErrorRate.model_validate(figures).score == score
    assert Result.model_validate(figures).score == score


@pytest.mark.parametrize(
    ("before", "metric", "words"),
    [
        ("28.00", Metric(normalizer="basic"), "normalized WER 28.00 -> 21.60 %"),
        ("21.60", Metric(normalizer="basic"), "normalized WER 21.60 -> 21.60 %"),
        ("9.50", Metric(name="cer", normalizer="basic"), "normalized CER 9.50 -> 21.60 %, worse than before"),
        (None, Metric(normalizer="basic"), "normalized WER 21.60 %, not measured before"),
        ("28.00", None, "score 28.00 -> 21.60 %"),
    ],
    ids=["better", "equal", "worse", "no baseline", "no metric"],
)
def test_a_result_in_words(before: str | None, metric: Metric | None, words: str) -> None:
    baseline = WordErrorRate(score=before, wer="0.00", normalized_wer="0.00") if before else None
    result = Result(score="21.60", wer="0.00", normalized_wer="0.00")
    assert result.compared_with(baseline, metric) == words


@pytest.mark.parametrize(
    ("interval", "rest", "may_be_chance"),
    [
        (("-11.63", "-0.29"), None, False),
        (("-11.63", "-0.29"), ("-11.38", "0.00"), True),
        (("-11.63", "-0.29"), ("-11.38", "-0.10"), False),
        (("-1.00", "0.40"), None, True),
    ],
    ids=["certain", "certain by a loop", "certain without loops too", "holds zero"],
)
def test_no_verdict_hangs_on_a_loop(
    interval: tuple[str, str],
    rest: tuple[str, str] | None,
    may_be_chance: bool,  # noqa: FBT001 (a table's column)
) -> None:
    without = rest and ClipSubset(
        clips=9, baseline="2.00", result="1.00", difference_low=rest[0], difference_high=rest[1]
    )
    ends = {"difference_low": interval[0], "difference_high": interval[1]}
    assert Result(wer="0.00", normalized_wer="0.00", without_loops=without, **ends).may_be_chance is may_be_chance


def test_language_code_of_an_unknown_language() -> None:
    with pytest.raises(KeyError):
        languages.language_code("klingon")


@pytest.mark.parametrize(
    ("text", "path"),
    [("pvc://speech/it/train", "/volumes/speech/it/train"), ("pvc://speech", "/volumes/speech")],
)
def test_local_path(text: str, path: str) -> None:
    assert addresses.local_path(text, {"speech": "/volumes/speech"}) == path


def test_local_path_of_a_claim_that_is_not_mounted() -> None:
    with pytest.raises(KeyError, match="other"):
        addresses.local_path("pvc://other/it", {"speech": "/volumes/speech"})


def test_child_address() -> None:
    address = addresses.parse_address("s3://bucket/runs/")
    assert address is not None
    assert address.child("model") == "s3://bucket/runs/model"


def test_hub_id_has_no_address() -> None:
    assert addresses.parse_address("openai/whisper-base") is None


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("openai/whisper-tiny", 37_760_640),
        ("openai/whisper-base", 72_593_920),
        ("openai/whisper-small", 241_734_912),
        ("openai/whisper-medium", 763_857_920),
        ("openai/whisper-large-v2", 1_543_304_960),
        ("openai/whisper-large-v3", 1_543_490_560),
    ],
)
def test_parameters_are_those_that_the_models_have(model: str, parameters: int) -> None:
    assert model_dimensions.DIMENSIONS[model].parameters == parameters


@pytest.mark.parametrize(
    ("accelerator", "batch", "micro", "accumulation"),
    [
        ("cpu", 16, 8, 2),
        ("cpu", 8, 8, 1),
        ("cpu", 12, 6, 2),
        ("cpu", 7, 7, 1),
        ("cpu", 11, 6, 2),
        ("cuda", 17, 9, 2),
        ("cuda", 34, 12, 3),
        ("cuda", 113, 15, 8),
        ("ipu", 17, 1, 17),
    ],
)
def test_a_batch_is_as_few_nearly_equal_micro_batches_as_can_be(
    accelerator: Accelerator, batch: int, micro: int, accumulation: int
) -> None:
    schedule = make_schedule(Training(batch_size=batch), accelerator)
    assert (schedule.micro_batch_size, schedule.gradient_accumulation_steps) == (micro, accumulation)


@pytest.mark.parametrize(
    ("batch", "most", "micro", "accumulation"), [(17, 16, 9, 2), (17, 17, 17, 1), (17, 1, 1, 17), (17, 40, 17, 1)]
)
@pytest.mark.parametrize("accelerator", ["cpu", "cuda"])
def test_no_more_clips_than_the_user_says_go_through_at_once(
    accelerator: Accelerator, batch: int, most: int, micro: int, accumulation: int
) -> None:
    schedule = make_schedule(Training(batch_size=batch, micro_batch_size=most), accelerator)
    assert (schedule.micro_batch_size, schedule.gradient_accumulation_steps) == (micro, accumulation)


@pytest.mark.parametrize("accelerator", ["cpu", "cuda", "ipu"])
@pytest.mark.parametrize("batch", [1, 11, 16, 17, 36, 113, 1024])
def test_older_trainers_are_told_micro_batches_that_make_up_the_batch(accelerator: Accelerator, batch: int) -> None:
    planned = make_schedule(Training(batch_size=batch), accelerator)
    told = schedule_for_older_trainers(planned, batch)
    assert told.micro_batch_size * told.gradient_accumulation_steps == batch
    assert told.micro_batch_size <= planned.micro_batch_size


def test_plan_of_a_model_outside_the_table_has_no_estimate() -> None:
    spec = WhisperFineTuneSpec.model_validate({**MINIMAL, "model": "pvc://speech/model"})
    assert make_run_plan(spec, "cpu").memory_bytes is None


def test_a_frozen_encoder_needs_less_memory() -> None:
    spec = WhisperFineTuneSpec.model_validate(MINIMAL)
    decoder = WhisperFineTuneSpec.model_validate(with_changes(MINIMAL, {"training.trainable": "Decoder"}))
    whole, part = make_run_plan(spec, "cpu").memory_bytes, make_run_plan(decoder, "cpu").memory_bytes
    assert whole is not None
    assert part is not None
    assert part < whole
