"""How a trainer reads the configuration of an operator that is older or newer than itself."""

import json
import logging
from typing import Any

import pytest

from trainer_configs import make_config, make_spec
from whisper_finetune_api import contract
from whisper_finetune_api.contract import CONTRACT, CONTRACT_ENV
from whisper_finetune_api.run import CONFIG_ENV, TrainerConfig, TrainerReport, TrainingResult
from whisper_finetune_trainer.entrypoints import configuration, ending
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.progress import progress_server
from whisper_finetune_trainer.progress.progress import Reporter

CONFIG = make_config(make_spec(training={"steps": 10}))


def read(changes: dict[str, Any] | None = None, spec: dict[str, Any] | None = None, number: object = CONTRACT) -> Any:
    """Return what is read of the configuration with other fields in it, beside the operator's number."""
    sent = {**CONFIG.to_json_object(), **(changes or {})}
    sent["spec"] = {**sent["spec"], **(spec or {})}
    return configuration.config_of_environment({CONFIG_ENV: json.dumps(sent), CONTRACT_ENV: str(number)})


def refusal(*sent: Any, **more: Any) -> TrainerError:
    with pytest.raises(TrainerError) as raised:
        read(*sent, **more)
    return raised.value


def test_a_field_of_a_newer_operator_is_passed_over_and_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert read({"priority": "low"}) == CONFIG
    assert caplog.messages == [
        "the operator sent fields that this image does not know; left out: priority: not known to this version"
    ]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"priority": "low"}, "spec.priority: not known to this version"),
        ({"training": {"steps": 10, "weightDecay": "0.1"}}, "spec.training.weightDecay: not known to this version"),
        (
            {"training": {"steps": 10, "trainable": "LoRA"}},
            "spec.training.trainable: Input should be 'All' or 'Decoder'",
        ),
        ({"training": {"steps": 10_000_000}}, "spec.training.steps: Input should be less than or equal to 1000000"),
        ({"language": "klingon"}, "spec.language: "),
        ({"dataset": {"source": "oci://images/clips"}}, "spec.dataset.source: String should match pattern"),
    ],
    ids=["field", "field of a part", "word", "wider bound", "required word", "kind of address"],
)
def test_nothing_that_the_user_asks_for_is_passed_over(spec: dict[str, Any], says: str) -> None:
    refused = refusal(spec=spec)
    assert (refused.reason, refused.exit_code) == ("VersionMismatch", 76)
    assert says in refused.message
    assert refused.message.endswith("name a trainer image of the operator's version in the cluster's runtimes")


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"accelerator": "tpu"}, "accelerator: "), ({"volumes": {"speech": 7}}, "volumes.speech: ")],
    ids=["accelerator", "volumes"],
)
def test_nothing_that_the_operator_says_is_guessed(changes: dict[str, Any], says: str) -> None:
    refused = refusal(changes)
    assert refused.reason == "VersionMismatch"
    assert says in refused.message


def test_what_an_older_operator_does_not_say_is_named() -> None:
    with pytest.raises(TrainerError, match="is of another version: name: Field required; namespace: Field") as raised:
        configuration.config_of_environment({CONFIG_ENV: "{}"})
    assert raised.value.reason == "VersionMismatch"


def test_a_later_contract_is_not_read_on() -> None:
    refused = refusal({"everything": "anew"}, number=CONTRACT + 1)
    assert refused.reason == "VersionMismatch"
    assert refused.message.startswith(
        f"this trainer is older than its operator (the operator speaks contract {CONTRACT + 1}"
    )


@pytest.mark.parametrize("number", ["", 0, CONTRACT])
def test_earlier_contracts_are_read(number: object) -> None:
    assert read(number=number) == CONFIG


def test_answers_are_in_the_operators_contract() -> None:
    def numbers(operators: int | None) -> list[int | None]:
        ended = ending.termination_message(TrainingResult(message="done"), operators=operators)
        answer = progress_server.progress_json(CONFIG.uid, TrainerReport(), operators)
        return [json.loads(text).get("contract") for text in (ended, answer)]

    assert numbers(CONTRACT) == [CONTRACT] * 2
    assert numbers(CONTRACT + 1) == [CONTRACT] * 2
    assert numbers(0) == [None] * 2
    assert numbers(None) == [None] * 2


def test_a_mismatch_ends_the_pod_with_its_own_code() -> None:
    ended = ending.ending_of_attempt(lambda: read(spec={"priority": "low"}), Reporter())
    assert (ended.exit_code, ended.result.reason) == (76, "VersionMismatch")


def test_a_configuration_is_written_as_it_is_read() -> None:
    assert TrainerConfig.model_validate_json(contract.config_json(CONFIG)) == CONFIG
    assert json.loads(contract.config_json(CONFIG)) == CONFIG.to_json_object()
