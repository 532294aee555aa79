"""The final model in the forms of other engines: what a user may ask for, and what the operator reports of each."""

from typing import Literal, Optional

from pydantic import Field
from typing_extensions import Annotated

from whisper_finetune_api.v1alpha1.api_model import Count, Digest, StatusPart
from whisper_finetune_api.v1alpha1.scores import Percent

ExportName = Literal["CTranslate2", "CTranslate2Int8", "WhisperCpp", "WhisperCppQ5", "Onnx"]
#: How many held-out clips an export is checked with at most, where the spec does not say.
DEFAULT_CHECKED_CLIPS = 200
#: By how many points the score of an export may differ from the model's on the same clips.
MOST_DRIFT_POINTS = 0.5
#: As many as JSON numbers hold exactly.
Bytes = Annotated[int, Field(ge=0, le=2**53 - 1)]
Speed = Annotated[str, Field(pattern=r"^[0-9]{1,6}\.[0-9]{2}$", max_length=9)]


class ExportFigures(StatusPart):
    """One export. It was heard by its own engine, or it says why there is none."""

    name: ExportName = Field(description="As output.exports names it.")
    sha256: Optional[Digest] = Field(
        None, description="The sha256 of its manifest.json, which holds that of each file."
    )
    bytes: Optional[Bytes] = Field(None, description="Size of its files.")
    clips: Optional[Count] = Field(None, description="How many held-out clips its engine has heard.")
    score: Optional[Percent] = Field(None, description="Its score over those clips.")
    model_score: Optional[Percent] = Field(None, description="The score of the model itself over the same clips.")
    speed: Optional[Speed] = Field(None, description="Seconds of sound that its engine heard in a second, on the CPU.")
    refused: Optional[str] = Field(None, max_length=256, description="Why there is no such export.")


class Export(ExportFigures):
    """One export, with its address."""

    uri: Optional[str] = Field(None, max_length=1200, description="Address of its folder. Absent: there is none.")
