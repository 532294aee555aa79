"""Which fields make another run: for each field of the spec it is known whether it decides the weights."""

import specs
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_trainer.output import run_identity

#: Where and when a run works, and where its results go.
DECIDE_NOTHING = {
    "runtime",
    "evaluations",
    "longForm",
    "output",
    "acceptance",
    "secretRefs",
    "suspend",
    "retries",
    "activeDeadlineSeconds",
    "ttlSecondsAfterFinished",
}


def digest(**changes: object) -> str:
    return run_identity.training_fields_digest(WhisperFineTuneSpec.model_validate({**specs.MINIMAL, **changes}))


def test_every_field_of_the_spec_decides_or_is_known_not_to() -> None:
    fields = {field.alias or name for name, field in WhisperFineTuneSpec.model_fields.items()}
    assert fields == {*run_identity._DECIDING_FIELDS, *DECIDE_NOTHING}


def test_what_decides_makes_another_digest_and_what_does_not_the_same() -> None:
    assert digest(suspend=True, retries=1, runtime="gpu") == digest()
    assert digest(task="translate") != digest()
    assert digest(training={"seed": 1}) != digest()
    assert digest(training={"resumeEverySeconds": 5}) == digest()
