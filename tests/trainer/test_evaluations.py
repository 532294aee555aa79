"""The run's evaluations: made, stored, found again, and described in a sentence."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from trainer_configs import UID
from whisper_finetune_api.run import TrainingResult
from whisper_finetune_api.v1alpha1.scores import Metric, Validation
from whisper_finetune_trainer.data.audio.audio_sources import WholeFile
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.run_clips import Clips, ListedClips
from whisper_finetune_trainer.evaluation.evaluations import Evaluation, Evaluations
from whisper_finetune_trainer.machine.stopping import StopRequest
from whisper_finetune_trainer.model.backend import Backend
from whisper_finetune_trainer.model.generation import Transcript
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.output.run_folder import RunFolder
from whisper_finetune_trainer.output.volume_storage import VolumeStorage
from whisper_finetune_trainer.progress.progress import Reporter
from whisper_finetune_trainer.training import outcome

TEXTS = ("cinque", "uno due tre quattro")
CLIPS = tuple(Clip(f"{place}.wav", WholeFile(""), text, 1.0) for place, text in enumerate(TEXTS))
LOOP = Transcript("un po' che è il mio po' che è", is_cut=True)
WER = Metric(name="wer", normalizer="basic with marks")


def heard(*texts: str) -> tuple[Transcript, ...]:
    return tuple(Transcript(text, is_cut=False) for text in texts)


class Ears:
    """A double of a backend that has heard what it is told."""

    def __init__(self, found: Sequence[Transcript]) -> None:
        self.found = list(found)

    def transcribe(self, clips: Sequence[Clip], on_clip: Callable[[int], None]) -> list[Transcript]:
        on_clip(len(clips))
        return self.found


def folder(root: Path) -> RunFolder:
    made = RunFolder(VolumeStorage(root, "demo"), "demo-0badcafe", "pvc://speech/runs", UID, "f" * 64)
    made.prepare()
    return made


def evaluations(root: Path, found: Sequence[Transcript], language: str = "it") -> Evaluations:
    loaded: Any = cast(
        "Any", type("Loaded", (), {"text_language_code": language, "spellings": {}, "task": "transcribe"})
    )
    backend = cast("Backend", Ears(found))
    return Evaluations(folder(root), CLIPS, cast("LoadedModel", loaded), backend, Reporter(), StopRequest())


def made(root: Path, step: int, *found: Transcript) -> Evaluation:
    return evaluations(root, found).make(step)


def test_a_loop_is_named_in_the_log_and_stays_one_when_it_is_found_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = evaluations(tmp_path, [LOOP, *heard("uno due tre sei")]).baseline()
    assert (first.measurement.score, first.measurement.loops) == (40.0, (0,))
    assert "step 0: normalized WER 40.00 %, as written 40.00 %, over 2 clips" in caplog.text
    assert "the text of 1 of 2 clips never ends or repeats its end, and does not count as heard: 0.wav" in caplog.text
    assert evaluations(tmp_path, []).baseline() == first


def test_texts_that_ran_into_a_limit_are_counted_and_counted_again_when_they_are_found(tmp_path: Path) -> None:
    unended = Transcript("uno due tre quattro e cinque", is_cut=False, is_unended=True)
    first = evaluations(tmp_path, [LOOP, unended]).baseline()
    assert (first.to_report().cut_clips, first.measurement.loops) == (2, (0,))
    assert evaluations(tmp_path, []).baseline() == first
    loaded: Any = type("Loaded", (), {"text_language_code": "it", "spellings": {}})
    clips = Clips(ListedClips(CLIPS, 0, "0.1"), CLIPS, {}, (), "Given")
    final = made(tmp_path, 4, *heard("cinque", "uno due tre quattro"))
    result = outcome.compare_with_baseline(first, final, clips, loaded)
    assert result.cut_clips is None
    assert "; texts cut at the limit of tokens: 2 before, 0 after; verdict" in outcome.describe_result(
        first, result, WER
    )


def test_a_record_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    found = evaluations(tmp_path, heard("cinque", "uno due"))
    found.store(found.make(0))
    path = tmp_path / "demo-0badcafe" / "baseline.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    del record["cut"], record["unended"], record["figures"]["score"]
    path.write_text(json.dumps(record), encoding="utf-8")
    again = found.stored(0)
    assert again is not None
    assert again.measurement.score == 40.0


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (heard("sei", "uno"), heard("cinque", "uno due tre quattro"), "normalized WER 80.00 -> 0.00 %, over 2 clips, "),
        (
            heard("cinque", "uno due tre quattro"),
            heard("cinque", "uno due tre"),
            "normalized WER 0.00 -> 20.00 %, worse than before, over 2 clips, ",
        ),
        (
            (LOOP, *heard("uno due tre quattro")),
            heard("cinque", "uno due tre quattro"),
            "normalized WER 20.00 -> 0.00 %, over 2 clips (loops, which do not count as heard: 1 before, 0 after), ",
        ),
    ],
    ids=["better", "worse", "a loop"],
)
def test_the_result_in_a_sentence(
    tmp_path: Path, before: tuple[Transcript, ...], after: tuple[Transcript, ...], sentence: str
) -> None:
    baseline, final = made(tmp_path, 0, *before), made(tmp_path, 4, *after)
    loaded: Any = type("Loaded", (), {"text_language_code": "it", "spellings": {}})
    clips = Clips(ListedClips(CLIPS, 0, "0.1"), CLIPS, {}, (), "Given")
    result = outcome.compare_with_baseline(baseline, final, clips, loaded)
    assert outcome.describe_result(baseline, result, WER).startswith(sentence)


def test_the_sentence_says_where_no_evaluation_beat_the_baseline_and_where_a_training_made_things_worse(
    tmp_path: Path,
) -> None:
    loaded: Any = type("Loaded", (), {"text_language_code": "it", "spellings": {}})
    clips = Clips(ListedClips(CLIPS, 0, "0.1"), CLIPS, {}, (), "Given")
    right, wrong = heard("cinque", "uno due tre quattro"), heard("sei", "sei")
    baseline, final = made(tmp_path, 0, *right), made(tmp_path, 4, *wrong)
    result = outcome.compare_with_baseline(baseline, final, clips, loaded)
    choice = Validation(clips=40, baseline="30.00", best="31.00", step=10)
    sentence = outcome.describe_result(baseline, result, WER, choice)
    assert "normalized WER 0.00 -> 100.00 %, worse than before" in sentence
    assert sentence.endswith(
        "; no evaluation on the 40 validation clips was better than the baseline's 30.00 %; verdict: Worse"
    )
    assert "validation" not in outcome.describe_result(
        baseline, result, WER, choice.model_copy(update={"best": "29.99"})
    )


def concluded(root: Path, before: tuple[Transcript, ...], after: tuple[Transcript, ...]) -> TrainingResult:
    """Return the result of a run that has heard so before training and after it."""
    loaded: Any = type("Loaded", (), {"text_language_code": "it", "spellings": {}})
    clips = Clips(ListedClips(CLIPS, 0, "0.1"), CLIPS, {}, (), "Given")
    baseline, final = made(root, 0, *before), made(root, 4, *after)
    figures = outcome.compare_with_baseline(baseline, final, clips, loaded)
    return outcome.conclude(folder(root), Reporter().snapshot(), baseline, final, figures, keep_checkpoints=2)


def test_a_model_that_forgets_how_texts_are_written_is_called_worse_there(tmp_path: Path) -> None:
    """Normalized texts are the same, so the score does not see it."""
    result = concluded(tmp_path, heard("cinque", "uno due tre quattro"), heard("Cinque.", "Uno, due: tre; Quattro!"))
    assert result.result is not None
    assert (result.result.score, result.verdict) == ("0.00", "Worse")
    (written,) = result.evaluations or ()
    assert (written.name, written.verdict, written.clips) == ("as-written", "Worse", 2)
    assert (written.baseline, written.result) == ("0.00", "100.00")
    assert (written.difference_low, written.difference_high) == ("100.00", "100.00")
    assert "; worse on as-written 0.00 -> 100.00 %; verdict: Worse" in result.message


def test_a_model_that_learns_how_texts_are_written_has_no_further_evaluation(tmp_path: Path) -> None:
    result = concluded(tmp_path, heard("Cinque.", "Uno, due: tre; Quattro!"), heard("cinque", "uno due tre quattro"))
    assert (result.evaluations, result.verdict) == (None, "NotShown")


def test_texts_are_written_with_their_loops(tmp_path: Path) -> None:
    baseline, final = made(tmp_path, 0, LOOP, *heard("uno")), made(tmp_path, 4, *heard("cinque", "uno"))
    outcome.write_texts(folder(tmp_path), Clips(ListedClips(CLIPS, 0, "0.1"), CLIPS, {}, (), "Given"), baseline, final)
    lines = (tmp_path / "demo-0badcafe" / "evaluation.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"id": "0.wav", "reference": "cinque", "before": LOOP.text, "after": "cinque", "loops": ["before"]},
        {"id": "1.wav", "reference": "uno due tre quattro", "before": "uno", "after": "uno"},
    ]
