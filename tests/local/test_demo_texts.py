"""What the demo reads from the list of Italian prompts."""

import json
from pathlib import Path

import pytest

from demo.input import speech_folder, transcripts
from demo.input.speech_folder import NO_RECORDING, OVER_WINDOW, TOO_LONG, TOO_SHORT
from demo.input.transcripts import DAMAGED, NO_SPEECH, Transcript


@pytest.mark.parametrize(
    ("line", "spoken"),
    [
        ("Voce disattivata. (You are now muted.)", "Voce disattivata."),
        ("il nostro (enfatico) glorioso moderatore", "il nostro glorioso moderatore"),
        ("[!] punto  esclamativo", "punto esclamativo"),
        ('IAX (nota: non dice "2")', "IAX"),
        ("è stato eliminato vm-then-pound: poi premere cancelletto", "è stato eliminato"),
        ("Opzioni disponibili: prema 1", "Opzioni disponibili: prema 1"),
        ("Posta vocale. Casella di posta?", "Posta vocale. Casella di posta?"),
    ],
)
def test_only_what_is_spoken_stays(line: str, spoken: str) -> None:
    assert transcripts.clean("any", line) == Transcript("any", spoken)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[suono delle scimmie urlanti]", NO_SPEECH),
        ("(10 secondi di silenzio)", NO_SPEECH),
        ("... 2 ...", NO_SPEECH),
        ("La conferenza ? piena.", DAMAGED),
        ("non pu? essere completata cos? come composta.", DAMAGED),
    ],
)
def test_what_cannot_be_used_says_why(line: str, reason: str) -> None:
    assert transcripts.clean("any", line) == Transcript("any", refused=reason)


def test_the_list_is_read_without_its_byte_order_mark_and_its_comments() -> None:
    content = "\ufeff; Core Sounds\n\nhello: Ciao.\ndigits/e: e\n".encode()
    assert list(transcripts.read(content)) == [Transcript("hello", "Ciao."), Transcript("digits/e", "e")]


@pytest.mark.parametrize(
    ("seconds", "reason"), [(None, NO_RECORDING), (0.05, TOO_SHORT), (5.0, None), (5.1, TOO_LONG), (30.1, OVER_WINDOW)]
)
def test_a_clip_is_kept_by_its_length(seconds: float | None, reason: str | None) -> None:
    assert speech_folder.reason_to_drop(Transcript("hello", "Ciao."), seconds) == reason


def test_the_manifest_names_clips_by_paths_below_it(tmp_path: Path) -> None:
    speech_folder.write_manifest(tmp_path, [Transcript("digits/e", "è")], {"digits/e": 0.5})
    line = json.loads((tmp_path / "manifest.jsonl").read_text(encoding="utf-8"))
    assert line == {"audio": "clips/digits__e.wav", "text": "è", "duration": 0.5}
