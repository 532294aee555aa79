"""The layout on IPUs: the notebook's values, every size, and the refusals with their numbers."""

import pytest

from specs import MINIMAL
from whisper_finetune_api.planning import ipu_layout, ipu_planning, model_dimensions, training_memory
from whisper_finetune_api.planning.ipu_plan import IpuPlan, IpuPlanError
from whisper_finetune_api.planning.model_dimensions import Dimensions
from whisper_finetune_api.planning.run_plan import Loader, make_run_plan, make_schedule
from whisper_finetune_api.v1alpha1 import IpuConfig, Training, WhisperFineTuneSpec

SMALL, TINY, BASE = "openai/whisper-small", "openai/whisper-tiny", "openai/whisper-base"
#: Cell for cell what Graphcore's notebook gives IPUConfig.from_dict, but for the cache of executables.
NOTEBOOK = {
    "optimizer_state_offchip": True,
    "recompute_checkpoint_every_layer": True,
    "enable_half_partials": True,
    "gradient_accumulation_steps": 16,
    "layers_per_ipu": [5, 7, 5, 7],
    "matmul_proportion": [0.2, 0.2, 0.6, 0.6],
    "projection_serialization_factor": 5,
    "inference_replication_factor": 1,
    "inference_layers_per_ipu": [12, 12],
    "inference_parallelize_kwargs": {
        "use_cache": True,
        "use_encoder_output_buffer": True,
        "on_device_generation_steps": 16,
    },
}


def plan_of(model: str, ipus: int, training: Training | None = None, overrides: IpuConfig | None = None) -> IpuPlan:
    return ipu_planning.make_ipu_plan(
        model, model_dimensions.DIMENSIONS[model], ipus, training or Training(), overrides
    )


def refusal(model: str, ipus: int, training: Training | None = None, **overrides: object) -> str:
    with pytest.raises(IpuPlanError) as refused:
        plan_of(model, ipus, training, IpuConfig.model_validate(overrides))
    return str(refused.value)


@pytest.mark.parametrize("ipus", [4, 8, 16, 32, 64])
def test_whisper_small_is_laid_out_as_in_the_notebook(ipus: int) -> None:
    plan = plan_of(SMALL, ipus)
    assert plan.ipu_config() == {**NOTEBOOK, "replication_factor": ipus // 4}
    assert (plan.ipus_per_replica, plan.micro_batch_size) == (4, 1)


@pytest.mark.parametrize(
    ("ipus", "steps", "rate", "every"), [(4, 1000, 1e-5, 100), (16, 250, 4e-5, 25), (64, 62, 1.6e-4, 6)]
)
def test_replicas_divide_the_steps_and_multiply_the_rate(ipus: int, steps: int, rate: float, every: int) -> None:
    schedule = make_schedule(Training(eval_every_steps=100), "ipu", plan_of(SMALL, ipus))
    assert (schedule.steps, schedule.eval_every_steps) == (steps, every)
    assert schedule.learning_rate == pytest.approx(rate)
    assert schedule.warmup_steps == steps // 4


@pytest.mark.parametrize("ipus", [4, 16])
def test_schedule_of_whisper_small_is_the_notebooks(ipus: int) -> None:
    spec = WhisperFineTuneSpec.model_validate({**MINIMAL, "model": SMALL, "ipus": ipus})
    schedule = make_run_plan(spec, "ipu", ipus=ipus).schedule
    replicas = ipus // 4
    assert (schedule.steps, schedule.warmup_steps) == (1000 // replicas, 1000 // replicas // 4)
    assert schedule.learning_rate == 1e-5 * replicas
    assert (schedule.micro_batch_size, schedule.gradient_accumulation_steps) == (1, 16)


def test_whisper_tiny_has_the_published_settings() -> None:
    values = plan_of(TINY, 4).ipu_config()
    assert values["layers_per_ipu"] == values["inference_layers_per_ipu"] == [4, 4]
    assert values["matmul_proportion"] == [0.6, 0.6]
    assert values["recompute_checkpoint_every_layer"] is False
    assert values["replication_factor"] == 2


@pytest.mark.parametrize(
    ("model", "training", "transcribing"),
    [
        (BASE, (6, 6), (6, 6)),
        ("openai/whisper-medium", (4, 6, 7, 7, 4, 6, 7, 7), (11, 13, 11, 13)),
        (
            "openai/whisper-large-v2",
            (2, 4, 4, 4, 4, 4, 5, 5, 2, 4, 4, 4, 4, 4, 5, 5),
            (6, 8, 9, 9, 6, 8, 9, 9),
        ),
    ],
)
def test_other_models_follow_from_the_same_rules(
    model: str, training: tuple[int, ...], transcribing: tuple[int, ...]
) -> None:
    smallest = ipu_planning.smallest_partition(model_dimensions.DIMENSIONS[model])
    plan = plan_of(model, smallest, Training(batch_size=64))
    assert (plan.layers_per_ipu, plan.inference_layers_per_ipu) == (training, transcribing)
    assert smallest == len(training)


@pytest.mark.parametrize(("model", "factor"), [(SMALL, 5), (f"{SMALL}.en", 6)])
def test_projection_factor_divides_the_vocabulary(model: str, factor: int) -> None:
    plan = plan_of(model, 4)
    assert plan.projection_serialization_factor == factor
    assert model_dimensions.DIMENSIONS[model].vocabulary % factor == 0


def test_overrides_replace_the_plans_values() -> None:
    overrides = IpuConfig(
        layers_per_ipu=(3, 3, 3, 3),
        matmul_proportion=("0.1", "0.2", "0.3", "0.4"),
        gradient_accumulation_steps=16,
        projection_serialization_factor=11,
        inference_projection_serialization_factor=23,
        optimizer_state_offchip=False,
        recompute_checkpoint_every_layer=False,
        enable_half_partials=False,
        on_device_generation_steps=0,
    )
    plan = plan_of(BASE, 8, Training(batch_size=32), overrides)
    assert plan.ipu_config() == {
        "optimizer_state_offchip": False,
        "recompute_checkpoint_every_layer": False,
        "enable_half_partials": False,
        "gradient_accumulation_steps": 16,
        "replication_factor": 2,
        "layers_per_ipu": [3, 3, 3, 3],
        "matmul_proportion": [0.1, 0.2, 0.3, 0.4],
        "projection_serialization_factor": 11,
        "inference_projection_serialization_factor": 23,
        "inference_replication_factor": 1,
        "inference_layers_per_ipu": [6, 6],
        "inference_parallelize_kwargs": {"use_cache": True, "use_encoder_output_buffer": True},
    }
    assert plan.micro_batch_size == 2


def test_a_micro_batch_for_other_hardware_is_refused() -> None:
    assert refusal(SMALL, 4, Training(micro_batch_size=4)) == (
        "training.microBatchSize is for GPUs and CPUs: on IPUs it is training.batchSize divided by "
        "ipuConfig.gradientAccumulationSteps"
    )


def test_checkpointing_for_other_hardware_is_refused() -> None:
    assert refusal(SMALL, 4, Training(gradient_checkpointing="On")) == (
        "training.gradientCheckpointing is for GPUs and CPUs: on IPUs set ipuConfig.recomputeCheckpointEveryLayer"
    )


def test_shorter_windows_are_refused_where_there_are_none() -> None:
    assert refusal(SMALL, 4, Training(window="Fitted")) == (
        "training.window: Fitted is for GPUs and CPUs: IPUs hear every clip in 30 s; leave training.window out"
    )


@pytest.mark.parametrize(
    ("layers", "encoder_layers", "stages"),
    [((5, 7, 5, 7), 12, 9), ((4, 4), 4, 3), ((2, 2, 2, 2), 4, 9), ((8,), 4, 1), ((6, 0, 6, 0), 6, 3)],
)
def test_stages_of_a_pipeline(layers: tuple[int, ...], encoder_layers: int, stages: int) -> None:
    assert ipu_layout.pipeline_stages(layers, encoder_layers) == stages


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (refusal(SMALL, 2), ["layers [5, 7, 5, 7]", "ipus is 2", "the smallest that fits is 4"]),
        (refusal(TINY, 1), ["ipus is 1", "the smallest that fits is 2"]),
        (refusal(SMALL, 4, Training(batch_size=8)), ["9 stages", "accumulation is 8", "batchSize to 9 or more"]),
        (refusal(SMALL, 4, layersPerIpu=[6, 6, 6, 7]), ["places 25 layers", "has 24"]),
        (refusal(SMALL, 4, layersPerIpu=[8, 8, 8]), ["names 3 IPUs", "1, 2, 4, 8, 16, 32 or 64"]),
        (refusal(SMALL, 4, matmulProportion=["0.2"]), ["has 1 values", "has 4 IPUs"]),
        (refusal(SMALL, 4, projectionSerializationFactor=4), ["projectionSerializationFactor 4", "51865"]),
        (refusal(SMALL, 4, inferenceProjectionSerializationFactor=2), ["inferenceProjectionSerializationFactor 2"]),
        (refusal(SMALL, 4, inferenceLayersPerIpu=[10, 14]), ["the 12 encoder layers", "[10, 14]"]),
        (refusal(SMALL, 4, inferenceLayersPerIpu=[4, 4, 4, 12]), ["1, 2 or another power of two"]),
        (refusal(SMALL, 4, inferenceLayersPerIpu=[24]), ["the 12 encoder layers"]),
        (refusal(SMALL, 4, gradientAccumulationSteps=32), ["batchSize 16 is not a multiple", "32"]),
        (refusal(SMALL, 4, onDeviceGenerationSteps=224), ["onDeviceGenerationSteps 224 must be below", "224"]),
        (refusal("openai/whisper-large-v3", 64), ["51866", "large-v2"]),
        (
            refusal(SMALL, 4, layersPerIpu=[6, 6, 6, 7], matmulProportion=["0.2"]),
            ["places 25 layers", "; ", "has 1 values"],
        ),
    ],
)
def test_refusals_hold_the_numbers_and_what_would_do(message: str, expected: list[str]) -> None:
    assert [part for part in expected if part not in message] == []


def test_a_vocabulary_without_a_divisor_is_refused() -> None:
    dimensions = Dimensions(64, 2, 2, 4, vocabulary=51_869)  # a prime
    with pytest.raises(IpuPlanError, match="no number from 5 to 64 divides its vocabulary of 51869"):
        ipu_planning.make_ipu_plan("own/model", dimensions, 2, Training())


def test_estimate_grows_with_what_is_kept() -> None:
    plain = plan_of(SMALL, 4)
    assert sum(plain.bytes_per_ipu) < sum(plan_of(SMALL, 4, Training(precision="Float")).bytes_per_ipu)
    assert sum(plain.bytes_per_ipu) > sum(plan_of(SMALL, 4, Training(trainable="Decoder")).bytes_per_ipu)
    kept = plan_of(SMALL, 4, overrides=IpuConfig(recompute_checkpoint_every_layer=False))
    assert max(kept.bytes_per_ipu) > training_memory.BYTES_OF_IPU
    assert "spread the layers" in kept.warnings[0]


def test_estimate_counts_every_weight_once() -> None:
    for model, dimensions in model_dimensions.DIMENSIONS.items():
        layers = ipu_layout.spread_layers(dimensions.encoder_layers, dimensions.decoder_layers, 4)
        shares = ipu_layout.shares_of_ipus(layers, dimensions)
        placed = sum(sum(training_memory.parameters_of_share(share, dimensions)) for share in shares)
        assert placed == dimensions.parameters, model


def test_warnings_name_what_nobody_has_tried() -> None:
    assert plan_of(SMALL, 16).warnings == ()
    assert "8 replicas are untested" in plan_of(SMALL, 32).warnings[0]
    assert "experimental" in plan_of("openai/whisper-medium", 8, Training(batch_size=32)).warnings[0]


def test_run_without_a_size_takes_the_smallest() -> None:
    spec = WhisperFineTuneSpec.model_validate({**MINIMAL, "model": SMALL})
    planned = make_run_plan(spec, "ipu")
    assert planned.ipu is not None
    assert (planned.ipu.ipus, planned.schedule.replicas, planned.memory_bytes) == (4, 1, None)


def test_model_of_unknown_size_is_planned_for_one_replica() -> None:
    spec = WhisperFineTuneSpec.model_validate({**MINIMAL, "model": "own/model", "ipus": 8})
    planned = make_run_plan(spec, "ipu", ipus=8)
    assert (planned.ipu, planned.schedule.replicas) == (None, 1)


@pytest.mark.parametrize(("ipus", "replicas"), [(4, 1), (16, 4), (64, 16)])
def test_the_loaders_processes_hand_over_their_batches_by_shared_memory(ipus: int, replicas: int) -> None:
    spec = WhisperFineTuneSpec.model_validate({**MINIMAL, "model": SMALL})
    planned = make_run_plan(spec, "ipu", ipus=ipus)
    # 80 mel bins of 3,000 frames in float16, 16 clips of a step and replica, two steps of each of 16 processes.
    assert planned.loader == Loader(
        kind="Processes", workers=16, shared_memory_bytes=80 * 3000 * 2 * 16 * replicas * 2 * 16
    )


def test_gpus_and_cpus_need_no_shared_memory() -> None:
    spec = WhisperFineTuneSpec.model_validate(MINIMAL)
    assert make_run_plan(spec, "cuda").loader == Loader(kind="Threads", workers=4, shared_memory_bytes=0)
    assert make_run_plan(spec, "cpu").loader == Loader(kind="Threads", workers=0, shared_memory_bytes=0)


def test_a_cpu_reads_a_store_in_a_thread() -> None:
    spec = WhisperFineTuneSpec.model_validate({**MINIMAL, "dataset": {"source": "s3://speech/clips"}})
    assert make_run_plan(spec, "cpu").loader == Loader(kind="Threads", workers=1, shared_memory_bytes=0)
