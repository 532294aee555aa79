"""Columns that name the language of each row: a run trains all as one, so others among them are warned of. Pure."""

import re
from collections import Counter
from typing import Iterable, Optional, Tuple

from whisper_finetune_api.languages import LANGUAGE_NAMES, LANGUAGES, language_code

COLUMNS = ("language", "lang", "locale", "language_id", "lang_id", "language_code", "lang_code")
#: What parts a language from a country: it-IT, pt_BR, cmn_hans_cn.
_COUNTRY = re.compile(r"[-_]")
_SHOWN = 5
_LONGEST = 40


def find_language_column(names: Iterable[str]) -> Optional[str]:
    """Return the first column of these names that says a language, in any case."""
    found = {name.strip().casefold(): name for name in names}
    return next((found[column] for column in COLUMNS if column in found), None)


def language_named_by(value: object) -> str:
    """Return what a cell names, Whisper's code where it is a language of its table. Empty where it names none."""
    text = "" if value is None else str(value).strip()[:_LONGEST]
    language = _COUNTRY.split(text.lower(), maxsplit=1)[0]
    return language_code(language) if language in LANGUAGE_NAMES else text


def warn_of_languages(counts: "Counter[str]", column: str, language: str) -> Tuple[str, ...]:
    """Return a warning where rows name other languages than the one that all are trained as.

    One value that is not a language Whisper knows says nothing: it may be a number, or a code of another table.
    """
    counts = Counter({name: number for name, number in counts.items() if name})
    code = language_code(language)
    if len(counts) > 1:
        shown = ", ".join(f"{name} {number}" for name, number in counts.most_common(_SHOWN))
        more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
        return (f"column {column} names {len(counts)} languages ({shown}{more}); all are trained as {LANGUAGES[code]}",)
    other = next(iter(counts), code)
    if other == code or other not in LANGUAGES:
        return ()
    return (f"column {column} names {LANGUAGES[other]} in all rows, and they are trained as {LANGUAGES[code]}",)
