"""The plain transformers recipe: Seq2SeqTrainer, float32, every clip in the full 30 s window."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import soundfile
import source_roots  # noqa: F401 -- finds the packages below
import torch
from transformers import (
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    WhisperForConditionalGeneration,
    WhisperProcessor,
)

from whisper_finetune_api.run import Schedule
from whisper_finetune_trainer.data.clips import Clip


class Examples(torch.utils.data.Dataset[dict[str, Any]]):
    """The features and labels of clips. Each is made when it is asked for."""

    def __init__(self, clips: Sequence[Clip], processor: Any) -> None:
        self._clips = clips
        self._processor = processor

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, place: int) -> dict[str, Any]:
        clip = self._clips[place]
        samples, rate = soundfile.read(clip.audio.file, dtype="float32")
        features = self._processor.feature_extractor(samples, sampling_rate=rate, return_tensors="pt").input_features[0]
        # The model itself puts the start token before the labels.
        return {"input_features": features, "labels": self._processor.tokenizer(clip.text).input_ids[1:]}


def collate(examples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Return one batch. The padding of shorter labels does not count in the loss."""
    labels = [torch.tensor(example["labels"]) for example in examples]
    return {
        "input_features": torch.stack([example["input_features"] for example in examples]),
        "labels": torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100),
    }


class Pairing(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Times each step of the plain recipe with its data. After each step the other side takes one."""

    def __init__(self, take_other_step: Callable[[], None]) -> None:
        self.seconds: list[float] = []
        self._take_other_step = take_other_step
        self._since = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._since = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(time.perf_counter() - self._since)
        self._take_other_step()
        self._since = time.perf_counter()


def train(
    model_folder: Path, clips: Sequence[Clip], language: str, schedule: Schedule, take_other_step: Callable[[], None]
) -> tuple[Any, list[float]]:
    """Train the decoder of a model. Return the model, and the seconds of each step."""
    processor = WhisperProcessor.from_pretrained(model_folder, language=language, task="transcribe")
    model = WhisperForConditionalGeneration.from_pretrained(model_folder, dtype=torch.float32)
    model.freeze_encoder()
    arguments = Seq2SeqTrainingArguments(
        output_dir="unused",
        max_steps=schedule.steps,
        per_device_train_batch_size=schedule.micro_batch_size,
        gradient_accumulation_steps=schedule.gradient_accumulation_steps,
        learning_rate=schedule.learning_rate,
        warmup_steps=schedule.warmup_steps,
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        logging_strategy="no",
        remove_unused_columns=False,
    )
    pairing = Pairing(take_other_step)
    Seq2SeqTrainer(
        model=model,
        args=arguments,
        train_dataset=Examples(clips, processor),
        data_collator=collate,
        callbacks=[pairing],
    ).train()
    return model, pairing.seconds
