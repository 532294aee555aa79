"""A data set for a Whisper with random weights. Each token is a pattern of 8 frames, and a clip has 2 to 5 tokens."""

from typing import Any, Dict, List

import numpy as np
import torch

VOCABULARY, MELS, FRAMES, MAX_LENGTH = 60, 16, 48, 13
END, START = 1, 2
PROMPT = (3, 4)
FIRST_WORD, LAST_WORD = 10, 30
FRAMES_OF_A_WORD = 8


class Clips(torch.utils.data.Dataset):
    """So many clips, always the same ones for a seed."""

    def __init__(self, count: int, seed: int) -> None:
        random = np.random.RandomState(seed)
        patterns = np.random.RandomState(1).randn(VOCABULARY, MELS).astype(np.float32)
        self.items = [_clip(random, patterns) for _ in range(count)]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> Dict[str, Any]:
        return self.items[place]


def _clip(random: np.random.RandomState, patterns: np.ndarray) -> Dict[str, Any]:
    words = random.randint(FIRST_WORD, LAST_WORD, size=random.randint(2, 6))
    features = 0.05 * random.randn(MELS, FRAMES).astype(np.float32)
    for place, word in enumerate(words):
        features[:, place * FRAMES_OF_A_WORD : (place + 1) * FRAMES_OF_A_WORD] += patterns[word][:, None]
    return {"input_features": features, "labels": [*PROMPT, *words.tolist(), END]}


def collate(clips: List[Dict[str, Any]]) -> Dict[str, torch.Tensor]:
    """Return features and labels of one shape, the labels filled up with -100."""
    labels = torch.full((len(clips), MAX_LENGTH), -100, dtype=torch.long)
    for row, clip in zip(labels, clips):
        row[: len(clip["labels"])] = torch.tensor(clip["labels"])
    return {"input_features": torch.tensor(np.stack([clip["input_features"] for clip in clips])), "labels": labels}
