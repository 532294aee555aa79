"""A held-out clip whose label is too long for training is still measured."""

import numpy as np

from whisper_finetune_trainer.ipu.examples import Collator
from whisper_finetune_trainer.model.examples import IGNORED


def test_a_label_is_cut_to_the_one_shape_and_a_short_one_filled_up() -> None:
    features = np.zeros((2, 3), dtype="float32")
    examples = [{"input_features": features, "labels": [1, 2, 3, 4, 5, 6]}, {"input_features": features, "labels": [7]}]
    labels = Collator(4, 0)(examples)["labels"]
    assert labels.tolist() == [[1, 2, 3, 4], [7, IGNORED, IGNORED, IGNORED]]
