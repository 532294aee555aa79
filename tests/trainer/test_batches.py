import math
from collections import Counter

import pytest

from trainer_configs import make_config, make_spec
from whisper_finetune_api.planning import model_dimensions
from whisper_finetune_api.run import Accelerator
from whisper_finetune_trainer.model.backend import BackendSettings, plan_training
from whisper_finetune_trainer.pytorch import train_steps

WINDOWS = [5] * 43 + [10] * 9 + [20] * 2 + [30] * 5


def clips_of(steps: tuple[train_steps.Step, ...]) -> list[int]:
    return [clip for step in steps for micro_batch in step for clip in micro_batch.clips]


@pytest.mark.parametrize("batch_size", [1, 8, 16, 64])
def test_every_clip_occurs_once_in_an_epoch(batch_size: int) -> None:
    steps = train_steps.epoch_steps(WINDOWS, shuffle_key="0/0", batch_size=batch_size, micro_batch_size=batch_size)
    assert sorted(clips_of(steps)) == list(range(len(WINDOWS)))
    assert len(steps) == math.ceil(len(WINDOWS) / batch_size)


def test_all_steps_but_one_are_full() -> None:
    steps = train_steps.epoch_steps(WINDOWS, shuffle_key="0/0", batch_size=8, micro_batch_size=4)
    sizes = Counter(sum(len(micro_batch.clips) for micro_batch in step) for step in steps)
    assert sizes == {8: 7, 3: 1}
    assert max(len(micro_batch.clips) for step in steps for micro_batch in step) == 4


@pytest.mark.parametrize(("batch_size", "sizes"), [(17, [8, 9]), (34, [11, 11, 12]), (16, [16]), (3, [3])])
def test_a_step_is_as_few_nearly_equal_micro_batches_as_can_be(batch_size: int, sizes: list[int]) -> None:
    (step,) = train_steps.epoch_steps([5] * batch_size, shuffle_key="0/0", batch_size=batch_size, micro_batch_size=16)
    assert sorted(len(micro_batch.clips) for micro_batch in step) == sizes


def test_the_trainer_plans_its_own_micro_batches_whatever_it_is_told() -> None:
    told = make_config(make_spec(model="openai/whisper-base", training={"batchSize": 17}))
    told = told.model_copy(
        update={"schedule": told.schedule.model_copy(update={"micro_batch_size": 1, "gradient_accumulation_steps": 17})}
    )
    planned = plan_training(
        told.spec, told.accelerator, told.ipus, model_dimensions.DIMENSIONS["openai/whisper-base"]
    ).schedule
    assert (planned.micro_batch_size, planned.gradient_accumulation_steps) == (6, 3)
    assert planned.steps == told.schedule.steps


@pytest.mark.parametrize(("accelerator", "devices"), [("cpu", 3), ("cuda", 1), ("ipu", 16)])
def test_the_devices_of_a_run_are_its_cpus_one_card_or_its_partition(accelerator: Accelerator, devices: int) -> None:
    told = make_config(make_spec(model="openai/whisper-base", ipus=16))
    plan = plan_training(told.spec, accelerator, None, model_dimensions.DIMENSIONS["openai/whisper-base"])
    settings = BackendSettings(accelerator, told.spec.training, plan.schedule, plan.ipu, "/scratch", 0, 600, cpus=3)
    assert settings.devices == devices


def test_a_micro_batch_has_one_window_and_so_have_most_steps() -> None:
    steps = train_steps.epoch_steps(WINDOWS, shuffle_key="0/0", batch_size=8, micro_batch_size=8)
    for micro_batch in (micro_batch for step in steps for micro_batch in step):
        assert {WINDOWS[clip] for clip in micro_batch.clips} == {micro_batch.window_seconds}
    assert sum(len(step) == 1 for step in steps) == 7


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return clips_of(train_steps.epoch_steps(WINDOWS, f"{seed}/{epoch}", batch_size=8, micro_batch_size=8))

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_windows_are_mixed_in_time() -> None:
    steps = train_steps.epoch_steps([5] * 80 + [10] * 80, shuffle_key="0/0", batch_size=8, micro_batch_size=8)
    order = [step[0].window_seconds for step in steps]
    assert order not in (sorted(order), sorted(order, reverse=True))
