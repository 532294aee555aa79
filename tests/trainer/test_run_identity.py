"""Which fields make another run: for each field of the spec it is known whether it decides the weights."""

import specs
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_trainer.output import run_identity

#: Where and when a run works, and where its results go.
DECIDE_NOTHING = {
    "runtime",
    "operatorClass",
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


def made_from(data: tuple[str, ...] = ("train", "held out"), weights: str = "weights", **changes: object) -> str:
    spec = WhisperFineTuneSpec.model_validate({**specs.MINIMAL, **changes})
    return run_identity.made_from_digest(spec, data, weights)


def test_a_result_is_that_of_another_run_where_nothing_that_decides_it_differs() -> None:
    output = dict(specs.MINIMAL["output"])
    assert made_from(suspend=True, retries=1, runtime="gpu", activeDeadlineSeconds=60) == made_from()
    assert made_from(output={**output, "uri": "s3://elsewhere/runs", "keepCheckpoints": 3}) == made_from()
    others = [
        made_from(training={"seed": 1}),
        made_from(acceptance={"requireBetter": True}),
        made_from(longForm=False),
        made_from(output={**output, "exports": ["CTranslate2"]}),
        made_from(evaluations=[{"name": "telephone", "source": "pvc://speech/calls"}]),
        made_from(data=("other train", "held out")),
        made_from(data=("train", "other held out")),
        made_from(weights="other weights"),
    ]
    assert len({made_from(), *others}) == len(others) + 1
