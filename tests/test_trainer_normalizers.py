import pytest

from whisper_finetune_trainer.normalizers import letters, normalizer_for


@pytest.mark.parametrize(
    ("language", "text", "normalized"),
    [
        pytest.param("it", "Perché la città? [musica] (ride)", "perché la città", id="accents stay, notes go"),
        pytest.param("it", "L'operatore  n° 7.", "l operatore n 7", id="punctuation becomes a space"),
        pytest.param("hi", "नमस्ते, दुनिया!", "नमस्ते दुनिया", id="vowel marks of Hindi stay"),
        pytest.param("de", "ﬁnden STRASSE", "finden strasse", id="compatibility letters"),
        pytest.param("en", "I'd like 2 colours, Mr. Smith", "i would like 2 colours mister smith", id="English rules"),
        pytest.param("zh", "你好,世界", "你 好 世 界", id="letter by letter"),
        pytest.param("it", "[musica]", "", id="nothing spoken"),
    ],
)
def test_texts_are_normalized_by_the_rules_of_their_language(language: str, text: str, normalized: str) -> None:
    assert normalizer_for(language, {}).apply(text) == normalized


def test_english_spellings_are_the_models() -> None:
    normalizer = normalizer_for("en", {"colour": "color"})
    assert normalizer.apply("The Colour") == "the color"
    assert (normalizer.name, normalizer_for("en", {}).name) == ("english", "english without spellings")


def test_a_letter_keeps_its_marks() -> None:
    assert letters("ที่ นี่") == ["ที่", "นี่"]
