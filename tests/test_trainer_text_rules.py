import pytest

from whisper_finetune_trainer import datasets_table
from whisper_finetune_trainer.text_rules import RULES, Outcome, RuleName, TextRules

CASES: dict[RuleName, tuple[str, str | None]] = {
    "NoSpeech": (" <SIL> ", None),
    "NotScored": ("ignore_time_segment_in_scoring", None),
    "PunctuationTags": ("YES <COMMA> IT IS <PERIOD>", "YES, IT IS."),
    "UnknownWords": ("the <unk> of <unk>", "the of"),
    "SpacedApostrophes": ("it 's what we 're told 'now'", "it's what we're told 'now'"),
    "LowerCase": ("IT'S 2 O'CLOCK", "it's 2 o'clock"),
}


def test_every_rule_has_a_case() -> None:
    assert set(CASES) == set(RULES)


@pytest.mark.parametrize(("name", "case"), CASES.items(), ids=CASES)
def test_a_rule_alone(name: RuleName, case: tuple[str, str | None]) -> None:
    text, expected = case
    outcome = TextRules((name,), str.strip).apply(text)
    if expected is None:
        assert outcome == Outcome("", (), name)
    else:
        assert outcome == Outcome(expected, (name,))


@pytest.mark.parametrize("name", RULES)
def test_ordinary_texts_stay_and_are_not_counted(name: RuleName) -> None:
    text = "It's what O'Neil said: <what> is SIL, at 5 p.m.?"
    assert TextRules((name,), str.strip).apply(text) == Outcome(text, ())


def test_the_normalizer_comes_after_the_rules() -> None:
    rules = TextRules(("PunctuationTags", "LowerCase"), lambda text: text.replace(",", ""))
    assert rules.apply("YES <COMMA> NO") == Outcome("yes no", ("PunctuationTags", "LowerCase"))


def test_a_set_is_found_by_its_id_in_any_case_and_by_its_files() -> None:
    found = datasets_table.find("mlcommons/Peoples_Speech")
    assert found is not None
    assert found is datasets_table.find("hf://MLCommons/peoples_speech/clean")
    assert datasets_table.find("pvc://speech/openslr/openslr") is None
    assert datasets_table.has_left_the_hub("mozilla-foundation/common_voice_17_0") is not None
    assert datasets_table.has_left_the_hub("mozilla/common") is None
