"""What bench/trust claims of runs, by what they report."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

import trainer_configs
from repository import ROOT
from whisper_finetune_api.run import TrainingResult

BEFORE = {"score": "24.78", "wer": "40.00", "normalizedWer": "24.78"}
AFTER = {
    "score": "17.29",
    "wer": "30.00",
    "normalizedWer": "17.29",
    "differenceLow": "-15.27",
    "differenceHigh": "-1.00",
}
SPANISH = {"name": "spanish", "baseline": "10.00", "result": "14.00", "differenceLow": "1.00", "differenceHigh": "7.00"}
PAGE = (
    '<svg aria-label="normalized WER of weights mixed from before (0) and after (1). 0: 30.00 %; 0.25: 24.00 %; '
    '0.5: 21.00 %; 0.75: 22.00 %; 1: 20.00 %; 1.25: 25.00 %; the mean of checkpoints: 20.50 %">'
)


@pytest.fixture(autouse=True)
def _bench_on_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "trust"]:
        del sys.modules[name]


def run_of(name: str, **reported: Any) -> Any:
    from trust.trainer_runs import ReportedRun  # noqa: PLC0415 -- the fixture puts it on the path

    known = {"baseline": BEFORE, "result": AFTER, "message": "done", **reported}
    config = trainer_configs.make_config(trainer_configs.make_spec())
    return ReportedRun(name, config, TrainingResult.model_validate(known))


def verdict_claim(name: str, **reported: Any) -> Any:
    from trust.verdicts import answer_verdicts  # noqa: PLC0415 -- the same

    (claim,) = answer_verdicts({name: run_of(name, **reported)})
    return claim


def test_a_good_training_must_be_better() -> None:
    claim = verdict_claim("sane", verdict="Better")
    assert (claim.holds, "held-out 24.78 -> 17.29 (-15.27 to -1.00)" in claim.found) == (True, True)
    assert verdict_claim("sane", verdict="NotShown").holds is False


def test_a_bad_training_must_say_where_it_is_worse() -> None:
    told = {"verdict": "Mixed", "evaluations": [{**SPANISH, "verdict": "Worse"}]}
    assert verdict_claim("too-fast", **told, message="...; worse on spanish 10.00 -> 14.00 %").holds is True
    assert verdict_claim("too-fast", **told, message="verdict: Mixed").holds is False
    assert verdict_claim("stripped", verdict="Better").holds is False


def test_a_training_on_wrong_transcripts_must_be_refused() -> None:
    refused = {"accepted": False, "reason": "NotBetter"}
    assert verdict_claim("shuffled", verdict="Worse", acceptance=refused).holds is True
    assert (
        verdict_claim("shuffled", verdict="Worse", acceptance={"accepted": True, "reason": "Accepted"}).holds is False
    )
    assert verdict_claim("shuffled", verdict="NotShown", acceptance=refused).holds is False


@pytest.mark.parametrize(
    ("score", "spanish", "holds"),
    [("21.00", "NotShown", True), ("21.00", "Worse", False), ("22.50", "NotShown", False)],
)
def test_mixing_must_keep_languages_and_four_fifths_of_the_gain(
    score: str, spanish: str, *, holds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trust import mixtures  # noqa: PLC0415 -- the same

    assert mixtures.curve_in_page(PAGE) == {0.0: 30.0, 0.25: 24.0, 0.5: 21.0, 0.75: 22.0, 1.0: 20.0, 1.25: 25.0}
    monkeypatch.setattr(mixtures, "_page_of", lambda _: PAGE)
    taken = {"factor": "0.50", "score": score}
    (claim,) = mixtures.answer_mixing(
        {"sane": run_of("sane", mixing=taken, evaluations=[{**SPANISH, "verdict": spanish}])}
    )
    assert claim.holds is holds


def test_faster_whisper_must_go_on_after_the_first_segment() -> None:
    from trust.packed_windows import Reach  # noqa: PLC0415 -- the same

    assert Reach(80.0, 79.0, 12).is_whole
    assert not Reach(80.0, 4.0, 1).is_whole
    assert not Reach(80.0, 79.0, 1).is_whole
