"""Clips in the form of the notebook: features of the full window, in the weights' type, and labels of one length."""

import json
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np
import torch
from optimum.graphcore.models.whisper import feature_extraction_whisper
from torch.utils.data import Dataset

from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.model.examples import IGNORED, Samples
from whisper_finetune_trainer.model.model import LoadedModel

Example = Dict[str, Any]
#: Returns the clip to train on, which is the given clip or its replacement, and its samples (n,).
Take = Callable[[Clip], Tuple[Clip, Samples]]


class ClipError(Exception):
    """A TrainerError as one line of text.

    An exception comes from a loader's process as text with a traceback added. The reason and the message survive that.
    """

    @classmethod
    def of(cls, error: TrainerError) -> "ClipError":
        """Return the error in a form that a loader's process may raise."""
        return cls(json.dumps([error.reason, error.message]))

    def cause(self) -> TrainerError:
        """Return the TrainerError that this error was made of."""
        line = str(self).splitlines()[-1]
        reason, message = json.loads(line[line.index("[") :])
        return TrainerError(reason, message)


def as_it_is(clip: Clip) -> Tuple[Clip, Samples]:
    """Return a clip and its samples (n,). Raises TrainerError where it cannot be decoded."""
    return clip, decoding.read_samples(clip.audio)


class ExampleMaker:
    """Makes the example of a clip: features (mel bins, frames) and a list of label tokens."""

    def __init__(self, loaded: LoadedModel, feature_type: str) -> None:
        """`feature_type` is float16 or float32, the type of the network's weights."""
        settings = loaded.feature_settings
        self._loaded = loaded
        self._feature_type = feature_type
        self._extractor = feature_extraction_whisper.WhisperFeatureExtractorTorch(
            feature_size=settings.mel_bins, chunk_length=settings.window_seconds
        )

    def __call__(self, clip: Clip, take: Take = as_it_is) -> Example:
        """Return the example of a clip, or of what `take` gives in its stead. Raises ClipError."""
        try:
            taken, samples = take(clip)
        except TrainerError as error:
            raise ClipError.of(error) from error
        found = self._extractor(samples, sampling_rate=decoding.SAMPLE_RATE).input_features[0]
        return {"input_features": np.asarray(found).astype(self._feature_type), "labels": self._labels(taken)}

    def _labels(self, clip: Clip) -> List[int]:
        """Return the labels that the notebook has: prompt, text and end.

        They begin with the start token, and the network puts another one before it.
        """
        tokenizer = self._loaded.tokenizer
        text = tokenizer(clip.text, add_special_tokens=False).input_ids
        return [*self._loaded.prompt_ids, *text, tokenizer.eos_token_id]


class Examples(Dataset):  # type: ignore[type-arg]  # torch 2.0 has no subscript at run time
    """The examples of the held-out clips, by index. Each is made when it is asked for."""

    def __init__(self, clips: Sequence[Clip], make: ExampleMaker) -> None:
        self._clips = clips
        self._make = make

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> Example:
        """Return the example of a clip. Raises ClipError."""
        return self._make(self._clips[index])


class TrainExamples(Dataset):  # type: ignore[type-arg]  # torch 2.0 has no subscript at run time
    """The examples to train on. The key is the clip itself, because the clips of a stream carry their sounds."""

    def __init__(self, count: int, make: ExampleMaker, take: Take) -> None:
        """`count` is that of the whole run. `take` gives another clip for one that cannot be decoded."""
        self._count = count
        self._make = make
        self._take = take

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, clip: Clip) -> Example:
        """Return the example of a clip. Raises ClipError."""
        return self._make(clip, self._take)


class RepeatedExample(Dataset):  # type: ignore[type-arg]  # torch 2.0 has no subscript at run time
    """The same example for every clip."""

    def __init__(self, example: Example, count: int) -> None:
        self._example = example
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, _: Clip) -> Example:
        """Return the example."""
        return self._example


class Collator:
    """Makes batches of one shape. Labels (clips, label tokens) are padded with IGNORED."""

    def __init__(self, label_tokens: int) -> None:
        self._label_tokens = label_tokens

    def __call__(self, examples: Sequence[Example]) -> Dict[str, torch.Tensor]:
        """Return features (clips, mel bins, frames) and labels."""
        labels = torch.full((len(examples), self._label_tokens), IGNORED, dtype=torch.long)
        for row, example in enumerate(examples):
            # Only held-out clips can have longer labels, and nothing is measured by their labels.
            found = torch.tensor(example["labels"][: self._label_tokens])
            labels[row, : len(found)] = found
        stacked = torch.from_numpy(np.stack([example["input_features"] for example in examples]))
        return {"input_features": stacked, "labels": labels}
