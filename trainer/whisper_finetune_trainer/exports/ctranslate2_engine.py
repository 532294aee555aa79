"""CTranslate2, the engine under faster-whisper: its own converter, and its own Whisper on the CPU."""

import json
import shutil
from pathlib import Path

import ctranslate2
import transformers
from ctranslate2.converters import TransformersConverter
from tokenizers import Tokenizer

from whisper_finetune_trainer.exports.engines import Hear, HearingSettings, Samples
from whisper_finetune_trainer.model import examples, generation
from whisper_finetune_trainer.model.generation import Transcript

_TOKENIZER, _FEATURES = "tokenizer.json", "preprocessor_config.json"


class CTranslate2Engine:
    """Makes folders for faster-whisper, and hears with them as that does, in the model's full window."""

    def convert(self, model: Path, target: Path, weights: str) -> None:
        """Write the export of a plain Hugging Face folder. `weights` is a quantization of CTranslate2."""
        transformers.utils.logging.disable_progress_bar()
        transformers.utils.logging.set_verbosity_error()
        TransformersConverter(str(model)).convert(str(target), quantization=weights, force=True)
        for name in (_TOKENIZER, _FEATURES):
            # Without a tokenizer, faster-whisper takes whisper-tiny's of the Hub.
            shutil.copyfile(model / name, target / name)

    def open(self, target: Path, settings: HearingSettings, threads: int) -> Hear:
        """Load an export. Raises RuntimeError, ValueError or OSError where it is broken."""
        tokenizer = Tokenizer.from_file(str(target / _TOKENIZER))
        features = json.loads((target / _FEATURES).read_text(encoding="utf-8"))
        mel_bins, window_seconds = features["feature_size"], features["chunk_length"]
        whisper = ctranslate2.models.Whisper(str(target), device="cpu", intra_threads=threads)

        def hear(samples: Samples, seconds: float) -> Transcript:
            heard = examples.log_mel(samples, mel_bins, window_seconds).numpy()[None]
            # One token more than a text may have shows whether the text ends there or goes on.
            most = min(generation.most_spoken_tokens(seconds) + 1, settings.most_tokens - len(settings.prompt_ids))
            (found,) = whisper.generate(
                ctranslate2.StorageView.from_array(heard),
                [list(settings.prompt_ids)],
                beam_size=1,
                suppress_tokens=[],
                # It generates half of that at most, and what the prompt leaves of it.
                max_length=max(2 * most, most + len(settings.prompt_ids)),
            )
            tokens = found.sequences_ids[0]
            # The engine ends a text without its last token. One that the limit ended has none either.
            ended = [*tokens, min(settings.end_ids)] if len(tokens) < most else tokens
            return generation.read_transcript(tokenizer, ended, settings.end_ids, seconds)

        return hear


ENGINE = CTranslate2Engine()
