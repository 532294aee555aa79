"""The speech to train on, and further speech to measure on, as a user names it in `spec`."""

from typing import Literal, Optional

from pydantic import AfterValidator, Field, WithJsonSchema
from typing_extensions import Annotated

from whisper_finetune_api.addresses import SOURCE_PATTERN
from whisper_finetune_api.contract import LATER
from whisper_finetune_api.languages import LANGUAGE_NAMES
from whisper_finetune_api.v1alpha1.api_model import NO_PARENTS, ApiModel, Fraction, WithoutParents


def _known_language(language: str) -> str:
    if language not in LANGUAGE_NAMES:
        raise ValueError(
            f"{language!r} is not a language Whisper knows; take a code or name of its table, such as it or italian, "
            "and for a language outside of it the nearest one"
        )
    return language


Language = Annotated[
    str, AfterValidator(_known_language), WithJsonSchema({"type": "string", "enum": list(LANGUAGE_NAMES)})
]
Task = Literal["transcribe", "translate"]
_SPLIT = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
HeldOutFraction = Annotated[str, Field(pattern=r"^0\.0{0,3}[1-9][0-9]{0,3}$", max_length=6)]


class Dataset(ApiModel):
    """The speech to train on, with its transcripts."""

    source: WithoutParents = Field(
        min_length=1,
        max_length=1024,
        pattern=SOURCE_PATTERN,
        json_schema_extra=NO_PARENTS,
        description="A Hub id, or a folder or manifest at pvc://claim/path, s3://, gs://, az:// or hf://.",
    )
    config: Optional[str] = Field(
        None,
        min_length=1,
        max_length=96,
        description="Configuration (subset) of a data set of the Hub. Absent: its only or default one.",
    )
    revision: Optional[str] = Field(
        None,
        min_length=1,
        max_length=96,
        description="Branch, tag or commit of the data set on the Hub. Absent: its main branch.",
    )
    train_split: str = Field("train", max_length=96, pattern=_SPLIT, description="Split that the model is trained on.")
    eval_split: Optional[str] = Field(
        None,
        max_length=96,
        pattern=_SPLIT,
        description="Split that the model is measured on. Absent: evalFraction of the train split is held out for it.",
    )
    eval_fraction: HeldOutFraction = Field(
        "0.2",
        description="Part of the train split that is held out to measure on where there is no evalSplit. It is "
        "drawn with seed 0.",
    )
    hold_out: Annotated[Optional[Literal["Speakers", "Clips"]], LATER] = Field(
        None,
        description="Clips: draw held-out clips one by one. Absent: whole speakers, where a column names them.",
    )
    validation_split: Annotated[Optional[str], LATER] = Field(
        None,
        max_length=96,
        pattern=_SPLIT,
        description="Split by which training.evalEverySteps chooses. Absent: validationFraction of the train split.",
    )
    validation_fraction: Annotated[Optional[HeldOutFraction], LATER] = Field(
        None,
        description="Part of the train split by which it chooses else. Absent: a tenth, of 20 to 500 clips.",
    )
    audio_column: Optional[str] = Field(
        None, min_length=1, max_length=96, description="Column of the sounds. Absent: it is found by its name."
    )
    text_column: Optional[str] = Field(
        None, min_length=1, max_length=96, description="Column of the transcripts. Absent: it is found by its name."
    )
    max_train_clips: Optional[int] = Field(None, ge=1, le=100_000_000, description="Most clips that are trained on.")
    max_eval_clips: Optional[int] = Field(None, ge=1, le=10_000_000, description="Most clips that are measured.")
    max_clip_seconds: int = Field(
        30, ge=1, le=30, description="Clips that are longer are dropped, counted and reported."
    )
    max_dropped_fraction: Fraction = Field(
        "0.1", description="Most of the clips that may be dropped. Where more are, the data set is refused."
    )
    text_normalization: Literal["None", "Basic", "Whisper"] = Field(
        "None", description="How transcripts are normalized before they are trained on."
    )
    text_rules: Literal["Known", "None"] = Field(
        "Known",
        description="Known: transcripts of known data sets are cleaned by the rules for these. None: they stay as"
        " they are.",
    )
    script: Optional[Literal["Language", "Any"]] = Field(
        None,
        description="Language: texts in another script than the language's are refused. Any: they are trained on "
        "too. Absent: Language.",
    )
    remove_duplicates: bool = Field(default=False, description="Drop clips of train whose audio is held out too.")
    allow_partial: bool = Field(
        default=False, description="Accept a data set of which the Hub has converted only a part."
    )


#: An interval over fewer clips says next to nothing.
FEWEST_EVALUATION_CLIPS = 20
#: So many clips of an evaluation are measured where the user says nothing. They are heard twice.
_USUAL_EVALUATION_CLIPS = 500
#: Evaluations that a run may have without naming them.
TAKEN_EVALUATION_NAMES = ("held-out", "validation", "long-form", "as-written")


class EvaluationSet(ApiModel):
    """A further data set that a run is measured on. It is read by the rules of `dataset`, and is not trained on."""

    name: str = Field(
        min_length=1,
        max_length=32,
        pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$",
        description="Its name in status and report.",
    )
    source: WithoutParents = Field(
        min_length=1,
        max_length=1024,
        pattern=SOURCE_PATTERN,
        json_schema_extra=NO_PARENTS,
        description="A Hub id, or a folder or manifest at pvc://claim/path, s3://, gs://, az:// or hf://.",
    )
    config: Optional[str] = Field(
        None, min_length=1, max_length=96, description="Configuration of a data set of the Hub, as in dataset."
    )
    revision: Optional[str] = Field(
        None, min_length=1, max_length=96, description="Branch, tag or commit on the Hub, as in dataset."
    )
    split: str = Field(
        "test", max_length=96, pattern=_SPLIT, description="Split that is measured. A manifest is one split."
    )
    audio_column: Optional[str] = Field(
        None, min_length=1, max_length=96, description="Column of the sounds. Absent: it is found by its name."
    )
    text_column: Optional[str] = Field(
        None, min_length=1, max_length=96, description="Column of the transcripts. Absent: it is found by its name."
    )
    max_clips: Optional[int] = Field(
        None,
        ge=FEWEST_EVALUATION_CLIPS,
        le=10_000,
        description="Most clips that are measured. They are drawn with a fixed seed. Absent: 500.",
    )
    language: Optional[Language] = Field(None, description="Language of its speech. Absent: the run's.")
    task: Optional[Task] = Field(None, description="What its texts are. Absent: what the run's are.")

    @property
    def most_clips(self) -> int:
        """How many clips are measured at most."""
        return self.max_clips or _USUAL_EVALUATION_CLIPS
