"""Measures a model folder with transformers alone: python pipeline_wer.py MODEL MANIFEST PRECISION, clips on stdin.

It imports nothing of this project and runs on Python 3.8 too. The clips are a JSON list of the manifest's audio paths.
The answer is the last line of stdout, and is JSON as well.
"""

import json
import sys
from pathlib import Path

import jiwer
import soundfile
import torch
import transformers
from tqdm import tqdm
from transformers.models.whisper.english_normalizer import BasicTextNormalizer

BATCH_SIZE = 8


def transcribe(model: str, audio: list[str], precision: str) -> list[str]:
    """Return the text of each sound file, heard with the generation settings of the model's folder."""
    recognizer = transformers.pipeline("automatic-speech-recognition", model=model, device="cpu", batch_size=BATCH_SIZE)
    if precision == "Half":
        # Only around the model: features cannot be made inside of autocast.
        recognizer.model.generate = torch.autocast("cpu", dtype=torch.bfloat16)(recognizer.model.generate)
    sounds = (soundfile.read(file, dtype="float32") for file in audio)
    clips = ({"raw": sound, "sampling_rate": rate} for sound, rate in sounds)
    return [heard["text"] for heard in tqdm(recognizer(clips), total=len(audio), desc="transcribing", unit="clip")]


def normalized_wer(references: list[str], hypotheses: list[str]) -> float:
    """Return errors per hundred words over all clips whose reference has words."""
    normalize = BasicTextNormalizer()
    pairs = [
        (normalize(reference).strip(), normalize(heard).strip())
        for reference, heard in zip(references, hypotheses)  # noqa: B905 (Python 3.8 knows no strict)
    ]
    spoken = [(reference, heard) for reference, heard in pairs if reference]
    return 100 * float(jiwer.wer([reference for reference, _ in spoken], [heard for _, heard in spoken]))


def main() -> None:
    model, manifest, precision = sys.argv[1:]
    rows = [json.loads(line) for line in Path(manifest).read_text(encoding="utf-8").splitlines()]
    texts = {row["audio"]: row["text"] for row in rows}
    chosen = json.load(sys.stdin)
    heard = transcribe(model, [str(Path(manifest).parent / audio) for audio in chosen], precision)
    answer = {
        "normalized_wer": normalized_wer([texts[audio] for audio in chosen], heard),
        "clips": len(chosen),
        "transformers": transformers.__version__,
        "torch": torch.__version__,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
