"""What is checked before a training costs money: scripts, silence, clipping, sample rates, duplicates."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import clip_loading
import tones
import trainer_configs
from whisper_finetune_api.languages import LANGUAGES
from whisper_finetune_trainer.data import data_checks
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.messages.errors import TrainerError

RATE = tones.SAMPLE_RATE


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    tones.write_clips(tmp_path / "clips", 20)
    return tmp_path


def load(volume: Path, **changes: Any) -> Clips:
    return clip_loading.load_clips(trainer_configs.config_on(volume, changes))


def sound(volume: Path, place: int) -> Path:
    return volume / "clips/audio" / f"train-{place:04d}.wav"


def rewrite(volume: Path, texts: dict[int, str]) -> None:
    path = volume / "clips/train.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [json.dumps({**row, "text": texts.get(place, row["text"])}) for place, row in enumerate(rows)]
    path.write_text("\n".join(lines), encoding="utf-8")


def test_nothing_is_said_of_good_data(volume: Path) -> None:
    assert load(volume).warnings == ()


WRITTEN = {
    "ru": "привет мир",
    "uk": "привіт світе",
    "el": "καλημέρα κόσμε",
    "ar": "مرحبا بالعالم",
    "fa": "سلام دنیا",
    "he": "שלום עולם",
    "hi": "नमस्ते दुनिया",
    "bn": "ওহে বিশ্ব",
    "th": "สวัสดีชาวโลก",
    "km": "សួស្តី",
    "lo": "ສະບາຍດີ",
    "my": "မင်္ဂလာပါ",
    "bo": "བཀྲ་ཤིས་བདེ་ལེགས",
    "zh": "你好世界",
    "yue": "你好世界",
    "ja": "こんにちは世界テスト",
    "ko": "안녕하세요",
    "ka": "გამარჯობა",
    "hy": "բարեւ",
    "am": "ሰላም",
    "ta": "வணக்கம்",
    "te": "హలో",
    "kn": "ನಮಸ್ಕಾರ",
    "ml": "നമസ്കാരം",
    "gu": "નમસ્તે",
    "pa": "ਸਤ ਸ੍ਰੀ ਅਕਾਲ",
    "si": "ආයුබෝවන්",
    "vi": "xin chào thế giới",
    "sr": "здраво svete",
    "it": "perché città",
}


@pytest.mark.parametrize(("language", "text"), WRITTEN.items(), ids=WRITTEN)
def test_texts_are_in_the_script_of_their_language(language: str, text: str) -> None:
    assert data_checks.find_foreign_texts([text, "7, 8!"], language) is None


def test_scripts_are_of_whispers_languages() -> None:
    assert set(data_checks.SCRIPTS) <= set(LANGUAGES)


def test_a_few_texts_of_another_script_are_reported(volume: Path) -> None:
    rewrite(volume, {3: "привет мир"})
    assert load(volume).warnings == (
        "1 of 20 texts are mostly in Cyrillic letters, and italian is written in Latin; such as: привет мир",
    )


def test_most_texts_of_another_script_refuse_the_data_set(volume: Path) -> None:
    with pytest.raises(
        TrainerError, match=r"20 of 20 texts .* greek is written in Greek.* Is `language` right"
    ) as caught:
        load(volume, language="el")
    assert caught.value.reason == "DatasetInvalid"


def test_any_script_is_trained_on_where_it_is_meant(volume: Path) -> None:
    found = load(volume, language="hi", **{"dataset.script": "Any"})
    assert len(found.train.listed) + len(found.evaluation) == 20
    (warning,) = found.warnings
    assert warning.startswith("20 of 20 texts are mostly in Latin letters, and hindi is written in Devanagari")
    with pytest.raises(TrainerError, match=r"Where it is meant so, give dataset\.script: Any"):
        load(volume, language="hi")


WRONG_COLUMNS = {
    "are names of sound files": "clips/Uno-{}.MP3",
    "contain no letter": "{}.5",
}


@pytest.mark.parametrize(("what", "text"), WRONG_COLUMNS.items(), ids=WRONG_COLUMNS)
def test_texts_of_another_column_refuse_the_data_set(volume: Path, what: str, text: str) -> None:
    rewrite(volume, {number: text.format(number) for number in range(10)})
    (warning,) = load(volume).warnings
    assert warning.startswith(f"10 of 20 texts {what}, such as: ")
    rewrite(volume, {number: text.format(number) for number in range(11)})
    with pytest.raises(TrainerError, match=f"11 of 20 texts {what}.* and dataset.textColumn") as caught:
        load(volume)
    assert caught.value.reason == "DatasetInvalid"


UNSPOKEN = {
    "contain tags or markup, which the model will learn to write, such as: ciao <unk>": "ciao <unk>",
    "contain tags or markup, which the model will learn to write, such as: pane &amp; vino": "pane &amp; vino",
    "contain times, as subtitles do, which the model will learn to write, such as: 0:01.5 ciao": "0:01.5 ciao",
    "contain names of speakers, which the model will learn to write, such as: SPEAKER_00: ciao": "SPEAKER_00: ciao",
    "contain brackets, as around sounds, which the model will learn to write, such as: ciao [risata]": "ciao [risata]",
    "contain control characters, such as: ciao\\x00": "ciao\0",
    "are UTF-8 that was read as another encoding, such as: perchÃ©": "perchÃ©",
    "contain letters that were lost (\ufffd), such as: perch\ufffd": "perch\ufffd",
}


@pytest.mark.parametrize(("said", "text"), UNSPOKEN.items(), ids=range(len(UNSPOKEN)))
def test_texts_that_hold_what_nobody_speaks_are_reported(volume: Path, said: str, text: str) -> None:
    rewrite(volume, {3: text})
    assert load(volume).warnings == (f"1 of 20 texts {said}",)


ODD = ["São Paulo", "SÃO", "perché", "a < b > c", "R&D altro", "Âge", "l'œuvre €", "alle 12:30", "due speaker"]


@pytest.mark.parametrize("text", ODD)
def test_texts_that_only_look_odd_are_not(volume: Path, text: str) -> None:
    rewrite(volume, {3: text})
    assert load(volume).warnings == ()


def test_texts_to_translate_into_are_english(volume: Path) -> None:
    assert load(volume, language="ru", task="translate").warnings == ()


def test_silence_and_clipping_are_reported(volume: Path) -> None:
    soundfile.write(sound(volume, 0), np.zeros(RATE, np.float32), RATE)
    soundfile.write(sound(volume, 1), np.clip(20 * tones.tone(0, 1.0), -1, 1), RATE)
    assert load(volume).warnings == (
        "1 of 20 sampled clips: silent",
        "1 of 20 sampled clips: clipped, such as audio/train-0001.wav",
    )


def test_a_silent_data_set_is_refused(volume: Path) -> None:
    for place in range(5):
        soundfile.write(sound(volume, place), np.full(RATE, 1e-4, np.float32), RATE)
    with pytest.raises(TrainerError, match=r"5 of 20 clips cannot be used.*silent 5.* is silent, and its text is"):
        load(volume)
    assert len(load(volume, **{"dataset.maxDroppedFraction": "0.25"}).train.listed) == 16


def cut(volume: Path, identifier: str) -> None:
    """Leave a sound's header, which promises more than follows it."""
    path = volume / "clips" / identifier
    whole = path.with_suffix(".flac")
    soundfile.write(whole, tones.tone(0, 2.0), RATE)
    path.write_bytes(whole.read_bytes()[:200])
    whole.unlink()


def test_a_train_clip_that_was_looked_at_and_cannot_be_decoded_is_left_out(volume: Path) -> None:
    before = load(volume)
    cut(volume, before.train.listed[3].identifier)
    found = load(volume)
    assert dict(found.dropped) == {"cannot be decoded": 1}
    assert f"{before.train.listed[3].identifier} cannot be decoded" in found.examples[0]
    assert found.train.listed == (*before.train.listed[:3], *before.train.listed[4:])
    assert found.evaluation == before.evaluation


@pytest.mark.parametrize("limit", [None, 3])
def test_each_held_out_clip_is_decoded_before_it_is_measured(
    volume: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    monkeypatch.setattr("whisper_finetune_trainer.data.data_checks._SAMPLED_CLIPS", 1)
    before = load(volume)
    cut(volume, before.evaluation[1].identifier)
    found = load(volume, **({} if limit is None else {"dataset.maxEvalClips": limit}))
    assert dict(found.dropped) == {"cannot be decoded": 1}
    # The next one moves up.
    assert found.evaluation == (before.evaluation[0], *before.evaluation[2:])
    assert found.train.listed == before.train.listed


def test_too_many_held_out_clips_that_cannot_be_decoded_refuse_the_data_set(volume: Path) -> None:
    for clip in load(volume).evaluation[:3]:
        cut(volume, clip.identifier)
    with pytest.raises(TrainerError, match=r"3 of 20 clips cannot be used.*cannot be decoded 3") as refused:
        load(volume)
    assert refused.value.reason == "DatasetInvalid"


def test_sampling_rates_are_reported(volume: Path) -> None:
    soundfile.write(sound(volume, 4), tones.tone(0, 0.5), 8_000)
    assert load(volume).warnings == (
        "sampling rates differ: 16000 Hz (19), 8000 Hz (1)",
        "1 of 20 sampled clips have less than 16,000 Hz, as on a telephone (16000 Hz (19), 8000 Hz (1))",
    )


def test_duplicates_are_reported_and_stay(volume: Path) -> None:
    found = load(volume)
    held_out, kept = found.evaluation[0], found.train.listed[0]
    places = {clip.identifier: int(clip.identifier[12:16]) for clip in (held_out, kept)}
    shutil.copy(volume / "clips" / held_out.identifier, volume / "clips" / kept.identifier)
    rewrite(volume, {places[kept.identifier]: held_out.text})
    reported = load(volume)
    assert len(reported.warnings) == 1
    assert f"1 train clips have the sound of a held-out one, such as {kept.identifier}" in reported.warnings[0]
    assert len(reported.train.listed) == len(found.train.listed)


def test_a_longer_data_set_is_looked_at_evenly(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whisper_finetune_trainer.data.data_checks._SAMPLED_CLIPS", 5)
    for place in range(20):
        soundfile.write(sound(volume, place), np.full(RATE, 1e-4, np.float32), RATE)
    with pytest.raises(TrainerError, match="5 of 5 clips cannot be used"):
        load(volume)
