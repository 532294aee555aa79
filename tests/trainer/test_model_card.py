from pathlib import Path

import yaml

import trainer_configs
from trainer_configs import described_run
from whisper_finetune_api.run import TrainerReport, TrainingResult
from whisper_finetune_api.v1alpha1.acceptance import Judgement
from whisper_finetune_api.v1alpha1.scores import ClipSubset, Metric, Result, Validation, WordErrorRate
from whisper_finetune_api.v1alpha1.status import DataSummary, RanOn
from whisper_finetune_trainer.model import model_card

REPORT = TrainerReport(
    stage="Training",
    metric=Metric(name="wer", normalizer="basic with marks"),
    data=DataSummary(train_clips=472, eval_clips=118, dropped_clips=3, split="Fraction"),
    ran_on=RanOn(hardware="CPU, 2 threads", software="torch 2, transformers 5, Python 3.11", precision="Half"),
    baseline=WordErrorRate(wer="47.70", normalized_wer="28.00"),
)
RESULT = Result(
    wer="41.80",
    normalized_wer="21.60",
    difference_low="-9.10",
    difference_high="-3.20",
    unseen_texts=ClipSubset(
        clips=108, baseline="28.50", result="22.10", difference_low="-9.00", difference_high="-3.00"
    ),
)
CARD = """\
---
language: it
library_name: transformers
pipeline_tag: automatic-speech-recognition
tags: [whisper]
---

# demo

Whisper that transcribes Italian: `pvc://speech/model`, fine-tuned on `pvc://speech/clips`.

## Error rates

| | before | after |
|---|---|---|
| normalized WER | 28.00 | 21.60 |
| normalized WER, 108 texts not in train | 28.50 | 22.10 |
| WER as written | 47.70 | 41.80 |

In percent, over all 118 held-out clips, each in the model's full window, with greedy decoding.
Normalizer: basic with marks.
The difference of the normalized WER is between -9.10 and -3.20 points (95 %, paired bootstrap over clips).
Verdict: Better.

## Training

- step 100 of 100, 8 clips each, seed 0
- learning rate 1e-05, linear, 25 steps of warm-up
- the decoder alone; the encoder is unchanged
- 472 clips; 3 of the data set could not be used
- on CPU, 2 threads, precision Half, with torch 2, transformers 5, Python 3.11

## Use

```python
from transformers import pipeline

recognize = pipeline("automatic-speech-recognition", model="THIS FOLDER")
print(recognize("speech.wav")["text"])
```

It knows its language (it) and task (transcribe) by itself.
"""
CHANGES = {"training.steps": 100, "training.batchSize": 8, "training.trainable": "Decoder"}


def test_the_whole_card() -> None:
    config = trainer_configs.config_on(Path("/nowhere"), CHANGES)
    assert model_card.model_card(described_run(config), REPORT, 100, RESULT) == CARD


def test_an_interval_that_holds_zero_is_said() -> None:
    config = trainer_configs.config_on(Path("/nowhere"), CHANGES)
    result = RESULT.model_copy(update={"difference_high": "0.40"})
    assert "An interval that holds zero means that the difference may be chance." in model_card.model_card(
        described_run(config), REPORT, 100, result
    )


def test_a_checkpoint_says_that_its_figure_is_of_the_clips_that_choose() -> None:
    config = trainer_configs.config_on(Path("/nowhere"), CHANGES)
    report = REPORT.model_copy(update={"validation": Validation(clips=40, baseline="30.10", best="25.00", step=50)})
    card = model_card.model_card(described_run(config), report, 50, RESULT.model_copy(update={"part": "Validation"}))
    assert "normalized WER 21.60 % (before training 30.10 %), over the 40 validation clips" in card
    assert "28.00" not in card
    assert "Verdict" not in card


def test_a_card_says_by_which_clips_the_model_was_chosen_and_where_nothing_beat_the_baseline() -> None:
    config = trainer_configs.config_on(Path("/nowhere"), CHANGES)
    for best, verdict, says in (("25.00", "Better", False), ("30.10", "NotShown", True)):
        choice = Validation(clips=40, baseline="30.10", best=best, step=50)
        card = model_card.model_card(
            described_run(config), REPORT.model_copy(update={"validation": choice}), 50, RESULT
        )
        assert f"Verdict: {verdict}. It was chosen by 40 other clips." in card
        assert ("no evaluation was better" in card) is says


def test_a_card_says_whether_the_model_is_accepted() -> None:
    config = trainer_configs.config_on(Path("/nowhere"), CHANGES)
    for accepted, words in ((True, "Accepted by the run's `spec.acceptance`."), (False, "**Not accepted**: too bad.")):
        known = {name: getattr(REPORT, name) for name in TrainerReport.model_fields}
        ended = TrainingResult(**known, acceptance=Judgement(accepted=accepted, message="too bad"))
        assert f"Verdict: Better.\n{words}\n" in model_card.model_card(described_run(config), ended, 100, RESULT)


def test_a_checkpoint_that_was_not_measured_claims_nothing() -> None:
    config = trainer_configs.config_on(Path("/nowhere"), CHANGES)
    card = model_card.model_card(described_run(config), REPORT, 50, None)
    assert "Not measured for this checkpoint." in card
    assert "step 50 of 100" in card
    assert "28.00" not in card


def test_ids_of_the_hub_are_named_in_the_front_matter() -> None:
    config = trainer_configs.config_on(
        Path("/nowhere"), {"model": "openai/whisper-base", "dataset.source": "openslr/openslr", "task": "translate"}
    )
    card = model_card.model_card(described_run(config), TrainerReport(), 1, None)
    front = yaml.safe_load(card.split("---")[1])
    assert (front["base_model"], front["datasets"]) == ("openai/whisper-base", ["openslr/openslr"])
    assert "translates into English from Italian" in card
