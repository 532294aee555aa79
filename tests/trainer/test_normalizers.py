import itertools
import re
import unicodedata

import pytest

from whisper_finetune_trainer.data.text_rules import (
    LETTER_LANGUAGES,
    _without_brackets,
    label_normalizer,
    letters_of,
    normalize_gently,
    normalizer_for,
)


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
    assert letters_of("ที่ นี่") == ["ที่", "นี่"]


SPOKEN = {
    "bn": "আমি বাংলায় কথা বলি",
    "hi": "मैं हिन्दी में बोलता हूँ",
    "ta": "நான் தமிழ் பேசுகிறேன்",
    "te": "నేను తెలుగు మాట్లాడుతాను",
    "ml": "ഞാൻ മലയാളം സംസാരിക്കുന്നു",
    "si": "මම සිංහල කතා කරමි",
    "ar": "أَنَا أَتَكَلَّمُ",
    "fa": "می‌روم به خانه",
    "he": "אֲנִי מְדַבֵּר",
    "vi": "tôi nói tiếng việt",
    "am": "እኔ አማርኛ እናገራለሁ",
    "yo": "mo ń sọ yorùbá",
}


@pytest.mark.parametrize(("language", "text"), SPOKEN.items(), ids=SPOKEN)
def test_scripts_with_marks_lose_nothing_but_punctuation(language: str, text: str) -> None:
    expected = unicodedata.normalize("NFKC", text)
    assert normalizer_for(language, {}).apply(f"«{text}!»") == expected
    # A word must stay a word: a mark that becomes a space would double the words, and the errors.
    assert len(expected.split()) == len(text.split())


WRITTEN_WITHOUT_SPACES = {
    "bo": ("བོད་སྐད", ["བོ", "ད", "སྐ", "ད"]),
    "ja": ("がっこう。", ["が", "っ", "こ", "う"]),
    "km": ("ខ្ញុំ", None),
    "lo": ("ພາສາ", ["ພ", "າ", "ສ", "າ"]),
    "my": ("မြန်မာ", None),
    "th": ("ที่นี่", ["ที่", "นี่"]),
    "yue": ("你好，世界", ["你", "好", "世", "界"]),
    "zh": ("你好，世界", ["你", "好", "世", "界"]),
}


def test_the_languages_without_spaces_are_these() -> None:
    assert set(WRITTEN_WITHOUT_SPACES) == LETTER_LANGUAGES


@pytest.mark.parametrize(("language", "written"), WRITTEN_WITHOUT_SPACES.items(), ids=WRITTEN_WITHOUT_SPACES)
def test_they_are_compared_letter_by_letter_and_trained_on_as_written(
    language: str, written: tuple[str, list[str] | None]
) -> None:
    text, expected = written
    compared = normalizer_for(language, {}).apply(text)
    assert expected is None or compared.split() == expected
    assert not any(unicodedata.combining(letter[0]) for letter in compared.split())
    assert label_normalizer("Whisper", language)(text) == label_normalizer("Basic", language)(text)
    assert label_normalizer("None", language)(f" {text} ") == text


#: What transformers' normalizers take out, which cost n² for n brackets that are never closed.
ORIGINAL = re.compile(r"[<\[][^>\]]*[>\]]|\([^)]+?\)")


@pytest.mark.parametrize("length", range(1, 7))
def test_brackets_are_those_of_the_original(length: int) -> None:
    for letters_of_one in itertools.product("<>[]()a", repeat=length):
        text = "".join(letters_of_one)
        assert _without_brackets(text) == ORIGINAL.sub("", text)


@pytest.mark.parametrize("opening", ["<", "[", "(", "<[", "(<", "()", " ", "( "])
def test_a_megabyte_of_brackets_is_gone_through_once(opening: str) -> None:
    text = opening * (1_000_000 // len(opening))
    assert normalize_gently(f"uno {text} due") == "uno due"
