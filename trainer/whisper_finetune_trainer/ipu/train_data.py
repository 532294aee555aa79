"""The examples that the library trains on, and the order in which its loader asks for them."""

from typing import Callable, NamedTuple, Optional, Sized

from whisper_finetune_api.planning.ipu_plan import IpuPlan
from whisper_finetune_trainer.data.audio.audio_sources import WholeFile
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.passages import PackingRules, TrainItem
from whisper_finetune_trainer.data.run_clips import ListedClips, TrainClips
from whisper_finetune_trainer.ipu.clip_sampler import ClipSampler
from whisper_finetune_trainer.ipu.examples import Example, ExampleMaker, RepeatedExample, TrainExamples
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.model.examples import ReplacementClips


class TrainData(NamedTuple):
    """Examples and their order. `order` yields clips, which are the keys of `examples`."""

    examples: Sized
    order: ClipSampler


def of_clips(
    clips: TrainClips,
    plan: IpuPlan,
    steps: int,
    make: ExampleMaker,
    check_stop: Callable[[], None],
    on_read: Callable[[], None],
    rules: Optional[PackingRules] = None,
) -> TrainData:
    """Return the run's train clips for `steps` steps, packed by the rules. The callbacks are those of `StepOrder`."""
    order = ClipSampler(
        clips,
        clips_per_step(plan),
        steps,
        lambda found: refuse_too_few(found, plan),
        check_stop,
        on_read,
        rules,
    )
    replacements = ReplacementClips(clips.listed, clips.max_dropped_fraction, _window_of)
    return TrainData(TrainExamples(len(order), make, replacements.take), order)


def clips_per_step(plan: IpuPlan) -> int:
    """Return how many clips one optimizer step takes on all replicas together."""
    return plan.replication_factor * plan.gradient_accumulation_steps * plan.micro_batch_size


def refuse_too_few(clips: int, plan: IpuPlan) -> None:
    """Raise DatasetInvalid where the train clips of an epoch do not fill one step. PopTorch would drop them all."""
    needed = clips_per_step(plan)
    if clips < needed:
        raise TrainerError(
            "DatasetInvalid",
            f"{clips} clips are left to train on, and one step on {plan.ipus} IPUs takes {needed}: "
            f"{plan.replication_factor} replicas x {plan.gradient_accumulation_steps} accumulated x micro-batches of "
            f"{plan.micro_batch_size}; give more clips, fewer ipus, or a smaller training.batchSize",
        )


def _window_of(_: TrainItem) -> int:
    # All clips have the same window, so any may replace another. A loader may pickle this, so it is no lambda.
    return 0


def of_one_example(example: Example, plan: IpuPlan) -> TrainData:
    """Return one step that repeats one example. That is enough to compile for its shape."""
    count = clips_per_step(plan)
    nobody = Clip("", WholeFile(""), "", 0.0)
    order = ClipSampler(ListedClips((nobody,) * count, 0, "0"), count, steps=1)
    return TrainData(RepeatedExample(example, count), order)
