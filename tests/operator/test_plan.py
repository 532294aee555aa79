"""From a spec to a plan: the runtime, the claims, and what the trainer is told."""

from dataclasses import replace
from typing import Any

import pytest

from run_objects import RUNTIMES, run_object
from whisper_finetune_operator.next_steps import Phase, Pinned
from whisper_finetune_operator.planning import plan
from whisper_finetune_operator.planning.plan import Claim, TrainingPlan
from whisper_finetune_operator.planning.runtimes import Runtimes
from whisper_finetune_operator.runs import Run


def made(
    changes: dict[str, Any] | None = None,
    *,
    pinned: Pinned = Pinned(),  # noqa: B008 (frozen)
    labels: dict[str, str] | None = None,
    offered: Runtimes = RUNTIMES,
) -> TrainingPlan | Phase:
    run = Run.from_object(run_object(changes, labels=labels))
    spec = plan.read_spec(run)
    assert not isinstance(spec, Phase)
    return plan.make_plan(run, spec, pinned, offered)


def test_the_admins_default_runs_what_names_no_runtime() -> None:
    planned = made()
    assert isinstance(planned, TrainingPlan)
    assert planned.runtime.name == "cpu"
    assert planned.config.accelerator == "cpu"
    assert planned.config.scratch_limit_bytes == 15 * 2**30
    assert planned.config.schedule.steps == 1000


def test_the_class_of_its_operator_is_not_told_to_a_trainer() -> None:
    planned = made({"operatorClass": "night"})
    assert isinstance(planned, TrainingPlan)
    assert planned.config.spec.operator_class is None


@pytest.mark.parametrize(
    ("named", "pinned", "taken"),
    [
        pytest.param(None, None, "cpu", id="default"),
        pytest.param(None, "gpu", "gpu", id="pinned before the default changed"),
        pytest.param("gpu", "cpu", "gpu", id="named"),
    ],
)
def test_a_named_runtime_goes_before_the_pinned_one_and_that_before_the_default(
    named: str | None, pinned: str | None, taken: str
) -> None:
    planned = made({"runtime": named} if named else None, pinned=Pinned(pinned))
    assert isinstance(planned, TrainingPlan)
    assert planned.runtime.name == taken


def test_without_a_default_the_run_waits_for_one() -> None:
    offered = RUNTIMES.model_copy(update={"default_runtime": None})
    assert made(offered=offered) == Phase(
        "Pending",
        "RuntimeNotFound",
        "spec.runtime is absent and the admin has set no default; offered here: cpu, gpu, pod16, eidf, c600",
    )


def test_a_runtime_of_other_namespaces_is_not_offered() -> None:
    closed = tuple(runtime.model_copy(update={"namespaces": ("research",)}) for runtime in RUNTIMES.runtimes)
    offered = RUNTIMES.model_copy(update={"runtimes": closed})
    assert made(offered=offered) == Phase(
        "Pending", "RuntimeNotFound", "there is no runtime cpu for namespace speech; offered here: none"
    )


@pytest.mark.parametrize(
    ("changes", "claims"),
    [
        pytest.param(None, (Claim("speech", "/volumes/speech", read_only=False),), id="one claim for all"),
        pytest.param(
            {
                "model": "pvc://models/whisper-base",
                "dataset.source": "pvc://speech/it",
                "output.uri": "pvc://results",
            },
            (
                Claim("models", "/volumes/models", read_only=True),
                Claim("results", "/volumes/results", read_only=False),
                Claim("speech", "/volumes/speech", read_only=True),
            ),
            id="one each",
        ),
        pytest.param(
            {
                "evaluations": [
                    {"name": "calls", "source": "pvc://calls/test"},
                    {"name": "open", "source": "google/fleurs"},
                    {"name": "radio", "source": "pvc://speech/radio"},
                ]
            },
            (
                Claim("calls", "/volumes/calls", read_only=True),
                Claim("speech", "/volumes/speech", read_only=False),
            ),
            id="those of evaluations",
        ),
        pytest.param(
            {"dataset.source": "s3://speech/it", "output.uri": "s3://speech/runs"},
            (),
            id="none for buckets",
        ),
    ],
)
def test_each_claim_is_mounted_once_and_only_the_outputs_may_be_written(
    changes: dict[str, Any] | None, claims: tuple[Claim, ...]
) -> None:
    planned = made(changes)
    assert isinstance(planned, TrainingPlan)
    assert planned.claims == claims
    assert planned.config.volumes == {claim.name: claim.folder for claim in claims}


def test_the_trainer_is_told_micro_batches_that_make_up_the_batch_whatever_its_version() -> None:
    planned = made({"training.batchSize": 17})
    assert isinstance(planned, TrainingPlan)
    schedule = planned.config.schedule
    assert schedule.micro_batch_size * schedule.gradient_accumulation_steps == 17


def test_whoever_writes_to_the_hub_is_told_that_nothing_can_be_resumed() -> None:
    planned = made({"output.uri": "hf://team/whisper-it"})
    assert isinstance(planned, TrainingPlan)
    assert [warning for warning in planned.warnings if "starts at step 0" in warning] == list(planned.warnings)
    assert planned.warnings


def test_only_kueues_labels_are_copied() -> None:
    labels = {
        "kueue.x-k8s.io/queue-name": "speech",
        "kueue.x-k8s.io/priority-class": "low",
        "app.kubernetes.io/instance": "argo-cd-application",
    }
    planned = made(labels=labels)
    assert isinstance(planned, TrainingPlan)
    assert planned.labels == {key: value for key, value in labels.items() if key.startswith("kueue")}


def ports(host_network: bool, first: int = 9000) -> list[int]:  # noqa: FBT001 (a table)
    """Return the ports of eight runs of a runtime."""
    runtime = RUNTIMES.runtimes[0].model_copy(update={"host_network": host_network, "progress_port": first})
    offered = RUNTIMES.model_copy(update={"runtimes": (runtime,), "default_runtime": runtime.name})
    runs = [replace(Run.from_object(run_object()), uid=f"run-{number}") for number in range(8)]
    spec = plan.read_spec(runs[0])
    assert not isinstance(spec, Phase)
    plans = [plan.make_plan(run, spec, Pinned(), offered) for run in runs]
    return [each.config.progress_port for each in plans if isinstance(each, TrainingPlan)]


def test_runs_that_may_share_a_host_each_have_a_port() -> None:
    assert len(set(ports(host_network=True))) == 8
    assert all(9000 <= port < 9000 + plan.HOST_PORTS for port in ports(host_network=True))
    assert ports(host_network=True, first=65535) == [65535] * 8


def test_pods_with_a_network_of_their_own_have_the_runtimes_port() -> None:
    assert ports(host_network=False) == [9000] * 8


@pytest.mark.parametrize("runtime", ["pod16", None])
def test_exports_are_refused_where_trainers_have_no_engines(runtime: str | None) -> None:
    offered = RUNTIMES if runtime else RUNTIMES.model_copy(update={"default_runtime": "pod16"})
    named = {"runtime": runtime} if runtime else {}
    refused = made({"output.exports": ["CTranslate2"], **named}, offered=offered)
    assert isinstance(refused, Phase)
    # Another default may come, but a runtime that is named never gets rid of its IPUs.
    assert refused.reason == ("InvalidSpec" if runtime else "RuntimeNotFound")
    assert refused.message.startswith(
        "output.exports: runtime pod16 has IPUs, and trainers for IPUs have none of the engines that hear an export; "
        "leave output.exports out, or take a runtime with CPUs or GPUs"
    )


def test_exports_are_planned_for_on_cpus() -> None:
    planned = made({"output.exports": ["CTranslate2"]})
    assert isinstance(planned, TrainingPlan)
    assert planned.config.spec.output.exports == ("CTranslate2",)


def with_limit(steps: int) -> Runtimes:
    limited = tuple(each.model_copy(update={"max_steps": steps}) for each in RUNTIMES.runtimes)
    return RUNTIMES.model_copy(update={"runtimes": limited})


@pytest.mark.parametrize("runtime", ["cpu", None], ids=["named", "the default"])
def test_a_run_with_more_steps_than_the_admin_allows_is_refused_with_the_limit(runtime: str | None) -> None:
    changes: dict[str, Any] = {"training.steps": 501, **({"runtime": runtime} if runtime else {})}
    refused = made(changes, offered=with_limit(500))
    assert isinstance(refused, Phase)
    assert (refused.state, refused.reason) == ("Failed", "InvalidSpec")
    assert "training.steps is 501, and the cluster's admin allows at most 500 on runtime cpu" in refused.message
    assert isinstance(made({**changes, "training.steps": 500}, offered=with_limit(500)), TrainingPlan)


def with_cards(memory: str) -> Runtimes:
    changed = tuple(
        each.model_copy(update={"accelerator_memory": memory}) if each.accelerator == "cuda" else each
        for each in RUNTIMES.runtimes
    )
    return RUNTIMES.model_copy(update={"runtimes": changed})


@pytest.mark.parametrize(
    ("model", "training", "memory", "advice"),
    [
        (
            "openai/whisper-large-v3",
            {},
            "20Gi",
            (
                "set training.trainable: Decoder, or take openai/whisper-large-v3-turbo, "
                "or name a runtime with larger cards"
            ),
        ),
        (
            "openai/whisper-medium",
            {"precision": "Float", "microBatchSize": 128, "batchSize": 128, "gradientCheckpointing": "Off"},
            "10Gi",
            (
                "leave training.microBatchSize out and set training.trainable: Decoder, or take openai/whisper-base, "
                "or name a runtime with larger cards"
            ),
        ),
        ("openai/whisper-large-v3", {"trainable": "Decoder"}, "512Mi", "name a runtime with larger cards"),
        (
            "openai/whisper-small",
            {"window": "Full", "trainable": "All", "batchSize": 16},
            "3680Mi",
            "leave training.window out, or take openai/whisper-base, or name a runtime with larger cards",
        ),
    ],
)
def test_a_run_that_cannot_fit_on_a_card_is_refused_with_what_would(
    model: str, training: dict[str, Any], memory: str, advice: str
) -> None:
    changes = {"runtime": "gpu", "model": model, **{f"training.{name}": value for name, value in training.items()}}
    refused = made(changes, offered=with_cards(memory))
    assert isinstance(refused, Phase)
    assert (refused.state, refused.reason) == ("Failed", "InvalidSpec")
    begun, _, advised = refused.message.partition(f" GiB, and a card of runtime gpu has {memory} (acceleratorMemory): ")
    assert begun.startswith(f"training {model} takes at least ")
    assert advised == advice


@pytest.mark.parametrize("model", ["openai/whisper-large-v3", "pvc://speech/large"])
def test_what_may_fit_on_a_card_is_planned(model: str) -> None:
    memory = "40Gi" if model.startswith("openai") else "1Gi"
    assert isinstance(made({"runtime": "gpu", "model": model}, offered=with_cards(memory)), TrainingPlan)


def test_what_is_advised_is_planned() -> None:
    advised = {"runtime": "gpu", "model": "openai/whisper-large-v3", "training.trainable": "Decoder"}
    assert isinstance(made(advised, offered=with_cards("20Gi")), TrainingPlan)


def test_a_run_that_has_begun_on_a_card_is_not_ended_by_its_memory() -> None:
    large = {"runtime": "gpu", "model": "openai/whisper-large-v3"}
    assert isinstance(made(large, pinned=Pinned("gpu"), offered=with_cards("1Gi")), TrainingPlan)


def test_a_limit_that_is_lowered_under_a_run_that_has_begun_does_not_end_it() -> None:
    assert isinstance(made({"training.steps": 501}, pinned=Pinned("cpu"), offered=with_limit(500)), TrainingPlan)
