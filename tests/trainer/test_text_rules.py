from __future__ import annotations

from pathlib import Path

import pytest

import clip_loading
import data_layouts
import trainer_configs
from whisper_finetune_trainer.data.audio.audio_locator import AudioLocator, ExtractedAudio
from whisper_finetune_trainer.data.clip_reader import ClipReader, ClipRules
from whisper_finetune_trainer.data.hub import known_datasets
from whisper_finetune_trainer.data.layouts import split_files
from whisper_finetune_trainer.data.layouts.row_columns import ColumnNames
from whisper_finetune_trainer.data.text_rules import RULES, Outcome, RuleName, TextRules

CASES: dict[RuleName, tuple[str, str | None]] = {
    "NoSpeech": (" <SIL> ", None),
    "NotScored": ("ignore_time_segment_in_scoring", None),
    "PunctuationTags": ("YES <COMMA> IT IS <PERIOD>", "YES, IT IS."),
    "UnknownWords": ("the <unk> of <unk>", "the of"),
    "SpacedApostrophes": ("it 's 5 o 'clock , y 'all 're told 'now'", "it's 5 o'clock , y'all're told 'now'"),
    "LowerCase": ("IT'S 2 O'CLOCK", "it's 2 o'clock"),
}


def test_every_rule_has_a_case() -> None:
    assert set(CASES) == set(RULES)


@pytest.mark.parametrize(("name", "case"), CASES.items(), ids=CASES)
def test_a_rule_alone(name: RuleName, case: tuple[str, str | None]) -> None:
    text, expected = case
    outcome = TextRules((name,), str.strip).apply(text)
    if expected is None:
        assert outcome == Outcome("", (), f"text rule {name}")
    else:
        assert outcome == Outcome(expected, (name,))


@pytest.mark.parametrize("name", RULES)
def test_ordinary_texts_stay_and_are_not_counted(name: RuleName) -> None:
    text = "It's what O'Neil said: <what> is SIL, at 5 p.m.?"
    assert TextRules((name,), str.strip).apply(text) == Outcome(text, ())


@pytest.mark.parametrize("text", ["<MUSIC> AND SO <COMMA>", "<NOISE> <OTHER>", "YES<SIL>"])
def test_a_tag_of_no_speech_among_words_leaves_the_segment_out_too(text: str) -> None:
    """As the data set's own recipes do: nobody knows what else is heard there."""
    assert TextRules(("NoSpeech",), str.strip).apply(text) == Outcome("", (), "text rule NoSpeech")


def test_the_normalizer_comes_after_the_rules() -> None:
    rules = TextRules(("PunctuationTags", "LowerCase"), lambda text: text.replace(",", ""))
    assert rules.apply("YES <COMMA> NO") == Outcome("yes no", ("PunctuationTags", "LowerCase"))


def test_a_set_is_found_by_its_id_in_any_case_and_by_its_files() -> None:
    found = known_datasets.find_known_dataset("mlcommons/Peoples_Speech")
    assert found is not None
    assert found is known_datasets.find_known_dataset("hf://MLCommons/peoples_speech/clean")
    assert known_datasets.find_known_dataset("pvc://speech/openslr/openslr") is None
    assert known_datasets.has_left_the_hub("mozilla-foundation/common_voice_17_0") is not None
    assert known_datasets.has_left_the_hub("mozilla/common") is None


def test_it_is_counted_how_many_texts_each_rule_changes(tmp_path: Path) -> None:
    names = list(data_layouts.SPOKEN)[:4]
    columns = {
        "audio": [{"bytes": data_layouts.encoded(name), "path": name} for name in names],
        "text": ["ONE <COMMA> TWO", "THREE", "<SIL>", "four"],
    }
    data_layouts.write_parquet(tmp_path / "clips/train.parquet", columns)
    source = clip_loading.open_source(trainer_configs.config_on(tmp_path, {}))
    split = split_files.open_split(source.find("train", is_train=True), ColumnNames(("audio",), ("text",)))
    known = known_datasets.find_known_dataset("speechcolab/gigaspeech")
    assert known is not None
    rules = ClipRules(30, TextRules(known.rules, str.strip))
    read = ClipReader(rules, AudioLocator(ExtractedAudio(str(tmp_path), 0))).read_clips(split)
    assert [clip.text for clip in read.clips] == ["one, two", "three", "four"]
    assert dict(read.rewritten) == {"PunctuationTags": 1, "LowerCase": 2}
    assert [drop.reason for drop in read.drops] == ["text rule NoSpeech"]


TOKENS = {
    "timestamps": ("<|0.00|> il gatto dorme<|1.02|>", "il gatto dorme"),
    "timestamps between": ("<|0.00|>il gatto<|1.02|><|1.10|>dorme<|2.00|>", "il gatto dorme"),
    "a prompt": (
        "<|startoftranscript|><|it|><|transcribe|><|notimestamps|> il gatto<|endoftext|><|endoftext|>",
        "il gatto",
    ),
    "what was said before": (
        "<|startofprev|> la casa<|startoftranscript|><|it|><|transcribe|> il gatto<|endoftext|>",
        "il gatto",
    ),
    "only what was said before": ("<|startofprev|> la casa", ""),
    "no speech": ("<|nospeech|>", ""),
    "before a sign": ("ciao <|0.50|>, a te<|1.00|> <|1.02|>.", "ciao, a te."),
    "a blank of the text's own": ("come<|0.50|> ?", "come ?"),
    "written by hand": ("<| 0.00 |> il gatto <|IT|>", "il gatto"),
}


@pytest.mark.parametrize(("text", "spoken"), TOKENS.values(), ids=TOKENS)
def test_special_tokens_are_taken_out_of_every_text(text: str, spoken: str) -> None:
    assert TextRules((), str.strip).apply(text) == Outcome(spoken, ("SpecialTokens",))


def test_words_that_a_tokenizer_was_given_stay() -> None:
    rules = TextRules((), str.strip, frozenset(["<|risata|>"]))
    assert rules.apply("ciao <|risata|> a te") == Outcome("ciao <|risata|> a te", ())
    assert rules.apply("<|0.00|> ciao <|risata|><|1.00|>") == Outcome("ciao <|risata|>", ("SpecialTokens",))


def test_a_language_without_spaces_gets_none() -> None:
    rules = TextRules((), str.strip, between_words="")
    assert rules.apply("<|0.00|>你好<|1.02|><|1.10|>世界<|2.00|>").text == "你好世界"


@pytest.mark.parametrize("text", ["x < y", "<|", "|>", "<||", "f <| g", "a|>b"])
def test_what_only_looks_like_a_token_stays(text: str) -> None:
    assert TextRules((), str.strip).apply(text) == Outcome(text, ())


#: Whoever tries each of the blanks, or of the brackets, as a start needs hours for these.
LONG = {letter: letter * 1_000_000 for letter in " <[({\u2028\t"} | {"()": "()" * 500_000, "<|": "<|" * 500_000}


@pytest.mark.parametrize("long", LONG.values(), ids=[f"{ord(name[0]):x}" for name in LONG])
def test_a_text_of_a_megabyte_costs_what_its_letters_do(long: str) -> None:
    text = f"uno{long}due"
    outcome = TextRules(tuple(RULES), str.strip).apply(text)
    assert outcome == Outcome(text, ())
