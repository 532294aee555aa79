"""Clips in the form of the notebook: features of the full window, in the weights' type, and labels of one length.

Passages of clips have the decoder's inputs beside their labels: what was said before is an input without a label.
"""

import json
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np
import torch
from optimum.graphcore.models.whisper import feature_extraction_whisper
from torch.utils.data import Dataset

from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.passages import TrainItem
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.model import examples
from whisper_finetune_trainer.model.examples import IGNORED, Samples
from whisper_finetune_trainer.model.model import LoadedModel

Example = Dict[str, Any]
#: The name of the decoder's inputs in transformers. Without them, the network makes them of the labels.
DECODER_INPUTS = "decoder_input_ids"
#: Returns what to train on, which is the given clip or passage or what replaces it, and its samples (n,).
Take = Callable[[TrainItem], Tuple[TrainItem, Samples]]


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


def as_it_is(item: TrainItem) -> Tuple[TrainItem, Samples]:
    """Return a clip or passage and its samples (n,). Raises TrainerError where it cannot be decoded."""
    return item, examples.samples_of_item(item)


class ExampleMaker:
    """Makes the example of a clip or passage: features (mel bins, frames) and a list of label tokens."""

    def __init__(self, loaded: LoadedModel, feature_type: str) -> None:
        """`feature_type` is float16 or float32, the type of the network's weights."""
        settings = loaded.feature_settings
        self._loaded = loaded
        self._feature_type = feature_type
        self._extractor = feature_extraction_whisper.WhisperFeatureExtractorTorch(
            feature_size=settings.mel_bins, chunk_length=settings.window_seconds
        )

    def __call__(self, item: TrainItem, take: Take = as_it_is) -> Example:
        """Return the example of a clip or passage, or of what `take` gives in its stead. Raises ClipError."""
        try:
            taken, samples = take(item)
        except TrainerError as error:
            raise ClipError.of(error) from error
        found = self._extractor(samples, sampling_rate=decoding.SAMPLE_RATE).input_features[0]
        return {"input_features": np.asarray(found).astype(self._feature_type), **self._labels(taken)}

    def _labels(self, item: TrainItem) -> Dict[str, List[int]]:
        """Return the labels that the notebook has for a clip: prompt, text and end.

        They begin with the start token, and the network puts another one before it. A passage has the decoder's inputs
        too, and so no second start token.
        """
        if not isinstance(item, Clip):
            label = examples.label_of(item, self._loaded)
            inputs = label.inputs(self._loaded.network.config.decoder_start_token_id)
            return {"labels": label.counted(), DECODER_INPUTS: inputs}
        tokenizer = self._loaded.tokenizer
        text = tokenizer(item.text, add_special_tokens=False).input_ids
        return {"labels": [*self._loaded.prompt_ids, *text, tokenizer.eos_token_id]}


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
    """The examples to train on. The key is the clip or passage itself, because clips of a stream carry their sounds."""

    def __init__(self, count: int, make: ExampleMaker, take: Take) -> None:
        """`count` is that of the whole run. `take` gives another clip for one that cannot be decoded."""
        self._count = count
        self._make = make
        self._take = take

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, item: TrainItem) -> Example:
        """Return the example of a clip or passage. Raises ClipError."""
        return self._make(item, self._take)


class RepeatedExample(Dataset):  # type: ignore[type-arg]  # torch 2.0 has no subscript at run time
    """The same example for every clip."""

    def __init__(self, example: Example, count: int) -> None:
        self._example = example
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, _: TrainItem) -> Example:
        """Return the example."""
        return self._example


class Collator:
    """Makes batches of one shape.

    Labels (clips, label tokens) are padded with IGNORED, the decoder's inputs with a token.
    """

    def __init__(self, label_tokens: int, padding_id: int) -> None:
        self._label_tokens = label_tokens
        self._padding = {"labels": IGNORED, DECODER_INPUTS: padding_id}

    def __call__(self, examples: Sequence[Example]) -> Dict[str, torch.Tensor]:
        """Return features (clips, mel bins, frames), labels and, for passages, the decoder's inputs."""
        stacked = torch.from_numpy(np.stack([example["input_features"] for example in examples]))
        padded = {name: self._padded(name, examples) for name in self._padding if name in examples[0]}
        return {"input_features": stacked, **padded}

    def _padded(self, name: str, examples: Sequence[Example]) -> torch.Tensor:
        rows = torch.full((len(examples), self._label_tokens), self._padding[name], dtype=torch.long)
        for row, example in enumerate(examples):
            # Only held-out clips can have longer labels, and nothing is measured by their labels.
            found = torch.tensor(example[name][: self._label_tokens])
            rows[row, : len(found)] = found
        return rows
