"""Labels of passages as literals, for the tiny models of both Pythons, whose tokens are single letters."""

from __future__ import annotations  # Python 3.8 reads it too

from dataclasses import replace
from typing import TYPE_CHECKING

from whisper_finetune_trainer.data.audio.audio_sources import WholeFile
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.passages import Passage
from whisper_finetune_trainer.data.text_rules import TimedText
from whisper_finetune_trainer.model import examples

if TYPE_CHECKING:
    from whisper_finetune_trainer.model.examples import Label
    from whisper_finetune_trainer.model.model import LoadedModel

CIAO = Clip("1", WholeFile("1.wav"), "ciao", 1.207)
SOLE = Clip(
    "2", WholeFile("2.wav"), "sole e mare", 2.5, timed=(TimedText(0.1, 0.9, "sole"), TimedText(1.0, 2.51, "e mare"))
)
TWO = Passage((CIAO, SOLE), (0.0, 0.79))
#: Each passage with what the decoder is given, and what it is to say.
LABELS = {
    "without timestamps": (TWO, "", "<|it|><|transcribe|><|notimestamps|>ĠciaoĠsoleĠeĠmare<|endoftext|>"),
    "with timestamps": (
        replace(TWO, has_timestamps=True),
        "",
        # The second clip begins at 1.997 s, and its text has times of its own.
        "<|it|><|transcribe|><|0.00|>Ġciao<|1.20|><|2.10|>Ġsole<|2.90|><|3.00|>ĠeĠmare<|4.50|><|endoftext|>",
    ),
    "with what was said before": (
        replace(TWO, text_before="la luna"),
        "<|startofprev|>ĠlaĠluna",
        "<|it|><|transcribe|><|notimestamps|>ĠciaoĠsoleĠeĠmare<|endoftext|>",
    ),
    "with no more of it than half of what the decoder takes": (
        replace(TWO, text_before="x" * 50 + "yz"),
        "<|startofprev|>" + "x" * 29 + "yz",
        "<|it|><|transcribe|><|notimestamps|>ĠciaoĠsoleĠeĠmare<|endoftext|>",
    ),
    "alone": (
        Passage((CIAO,), (0.0,), has_timestamps=True),
        "",
        "<|it|><|transcribe|><|0.00|>Ġciao<|1.20|><|endoftext|>",
    ),
}


def written(found: Label, loaded: LoadedModel) -> tuple[str, str]:
    """Return a label's tokens in their own spelling: Ġ is a blank."""
    spell = loaded.tokenizer.convert_ids_to_tokens
    return "".join(spell(found.given)), "".join(spell(found.said))


def check_literals(loaded: LoadedModel) -> None:
    """Compare all labels with their literals, where a label may have 64 tokens."""
    whole = replace(loaded, most_label_tokens=64)
    for case, (passage, given, said) in LABELS.items():
        assert written(examples.label_of(passage, whole), whole) == (given, said), case


def check_bounds(loaded: LoadedModel) -> None:
    """What was said before has the room that the label leaves, from its end; without room there is no prompt."""
    before = replace(TWO, text_before="la luna")
    said = examples.label_of(TWO, loaded).said
    for room, given in ((9, "<|startofprev|>ĠlaĠluna"), (5, "<|startofprev|>luna"), (1, ""), (0, "")):
        short = replace(loaded, most_label_tokens=len(said) + room)
        found = examples.label_of(before, short)
        assert written(found, short)[0] == given
        assert len(found.counted()) == len(found.inputs(0)) <= short.most_label_tokens


def check_loss_is_on_what_is_said(loaded: LoadedModel) -> None:
    """The prompt is given to the decoder, and no loss is on it, nor on the start token that follows it."""
    targets = examples.targets_of([replace(TWO, text_before="la"), CIAO], loaded)
    start, end = loaded.prompt_ids[0], loaded.tokenizer.eos_token_id
    given = examples.label_of(replace(TWO, text_before="la"), loaded).given
    said = examples.label_of(TWO, loaded).said
    assert targets.labels[0].tolist() == [examples.IGNORED] * len(given) + said
    assert targets.inputs[0].tolist() == [*given, start, *said[:-1]]
    alone = examples.label_ids(loaded.tokenizer, loaded.prompt_ids, "ciao")
    padding = targets.labels.shape[1] - len(alone)
    assert targets.labels[1].tolist() == [*alone, *[examples.IGNORED] * padding]
    assert targets.inputs[1].tolist() == [start, *alone, *[end] * (padding - 1)]
