"""A made-up training for reports: Italian sentences, and errors drawn with a fixed seed."""

from __future__ import annotations

import math
import random
from typing import Any

from trainer_configs import described_run, make_config, make_spec
from whisper_finetune_api.run import ReportedCheckpoint, ReportedModel, TrainingResult
from whisper_finetune_api.v1alpha1.dataset import Task
from whisper_finetune_api.v1alpha1.status import RanOn
from whisper_finetune_trainer.checkpoints.step_record import Stretch
from whisper_finetune_trainer.data.audio.audio_sources import WholeFile
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.run_clips import Clips, ListedClips
from whisper_finetune_trainer.data.text_rules import normalizer_for
from whisper_finetune_trainer.evaluation import intervals, wer
from whisper_finetune_trainer.evaluation.evaluations import Evaluation
from whisper_finetune_trainer.model.generation import Transcript
from whisper_finetune_trainer.report.report_data import FinishedTraining
from whisper_finetune_trainer.training import outcome

_SENTENCES = """\
il numero che avete composto non è attivo
prego attendere in linea un operatore risponderà al più presto
per ascoltare i messaggi premete uno
la casella vocale è piena grazie e arrivederci
"""
_WORDS = _SENTENCES.split()
_MISHEARD = {"prego": "prega", "casella": "cappella", "linea": "linia", "vocale": "locale", "premete": "premette"}
_STEPS = 400
_EVERY = 100


def make(
    clips: int = 48,
    language: str = "it",
    texts: tuple[str, ...] = (),
    heard: tuple[str, ...] = (),
    task: Task = "transcribe",
) -> FinishedTraining:
    """Return a training on `clips` held-out clips; the first ones have the given texts, heard as given before."""
    generator = random.Random(0)  # noqa: S311 -- nothing secret
    spoken = [*texts, *(_sentence(generator) for _ in range(clips - len(texts)))]
    held_out = tuple(
        Clip(
            f"clips/{place:03d}.wav",
            WholeFile(f"/nowhere/{place:03d}.wav"),
            text,
            round(0.4 + 0.38 * len(text.split()), 2),
        )
        for place, text in enumerate(spoken)
    )
    train = tuple(Clip(f"clips/t{place:03d}.wav", WholeFile(""), _sentence(generator), 2.5) for place in range(190))
    data = Clips(
        ListedClips(train, 0, "0.1"),
        held_out,
        {"too long": 2, "empty text": 1},
        ("train.jsonl line 7: clips/007.wav lasts 31.2 s; maxClipSeconds is 30",),
        "Fraction",
    )
    rates = {0: 0.35, 100: 0.24, 200: 0.16, 300: 0.12, 400: 0.13}
    evaluations = {
        step: _evaluation(step, spoken, [_hear(text, rate, generator) for text in spoken], task)
        for step, rate in rates.items()
    }
    evaluations[0] = _evaluation(0, spoken, [*heard, *evaluations[0].hypotheses[len(heard) :]], task)
    return _finished(data, evaluations, language, task, generator)


def _sentence(generator: random.Random) -> str:
    words = generator.choices(_WORDS, k=generator.randint(1, 14))
    return " ".join(words).capitalize() + "."


def _hear(text: str, rate: float, generator: random.Random) -> str:
    found: list[str] = []
    for word in text.split():
        draw = generator.random()
        if draw > rate:
            found.append(word)
        elif draw < rate / 5:
            found.extend([word, "eh"])
        elif draw > rate / 2:
            bare = word.lower().strip(".")
            found.append(_MISHEARD.get(bare, bare[:-1] + "o" if len(bare) > 2 else "lo"))
    return " ".join(found)


def _evaluation(step: int, references: list[str], hypotheses: list[str], task: Task) -> Evaluation:
    heard = tuple(Transcript(text, is_cut=False) for text in hypotheses)
    loops = wer.find_loops(references, heard)
    return Evaluation(step, heard, wer.measure_texts(references, hypotheses, "it", {}, loops, task))


def _finished(
    data: Clips, evaluations: dict[int, Evaluation], language: str, task: Task, generator: random.Random
) -> FinishedTraining:
    changes: dict[str, Any] = {"evalEverySteps": _EVERY, "steps": _STEPS, "batchSize": 8, "patience": 3}
    config = make_config(
        make_spec(
            model="openai/whisper-base",
            language=language,
            task=task,
            training=changes,
            output={"uri": "pvc://speech/runs"},
        )
    )
    baseline, final = evaluations[0], evaluations[300]
    normalizer = normalizer_for(language, {})
    interval = intervals.of_difference(baseline.measurement.scored, final.measurement.scored)
    assert interval is not None
    figures = outcome.Result(
        **final.measurement.to_report().model_dump(),
        difference_low=wer.points_text(interval.low),
        difference_high=wer.points_text(interval.high),
        unseen_texts=wer.unseen(baseline.measurement, final.measurement, data.train.texts(), language, {}),
        without_loops=wer.without_loops(baseline.measurement, final.measurement),
    )
    result = TrainingResult(
        metric=wer.metric(language, {}, task),
        data=data.summary(),
        ran_on=RanOn(hardware="CPU, 2 threads", software="torch 2, transformers 5, Python 3", precision="Half"),
        baseline=baseline.measurement.to_report(),
        result=figures,
        checkpoints=(
            ReportedCheckpoint(step=300, path="checkpoints/checkpoint-300"),
            ReportedCheckpoint(step=400, path="checkpoints/checkpoint-400"),
        ),
        model=ReportedModel(path="model", sha256="0" * 64, step=300),
    )
    return FinishedTraining(
        run=described_run(config),
        result=result,
        clips=data,
        baseline=baseline,
        measured=tuple(evaluations.values()),
        final=final,
        normalize=normalizer.apply,
        stretches=_stretches(generator),
        seconds=1_312.0,
        devices=2,
    )


def _stretches(generator: random.Random) -> tuple[Stretch, ...]:
    warm = _STEPS // 4
    return tuple(
        Stretch(
            last_step=step,
            steps=1,
            loss=round(0.25 + 2.1 * math.exp(-step / 70) + generator.gauss(0, 0.06), 4),
            learning_rate=1e-5 * ((step - 1) / warm if step <= warm else (_STEPS - step + 1) / (_STEPS - warm)),
            seconds=2.0,
        )
        for step in range(1, _STEPS + 1)
    )
