"""The examples that the library trains on, and the order in which its loader asks for them."""

from typing import Callable, NamedTuple, Sized

from whisper_finetune_api.planning.ipu_plan import IpuPlan
from whisper_finetune_trainer.data.audio.audio_sources import WholeFile
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.run_clips import ListedClips, TrainClips
from whisper_finetune_trainer.ipu import schedule
from whisper_finetune_trainer.ipu.clip_sampler import ClipSampler
from whisper_finetune_trainer.ipu.examples import Example, ExampleMaker, RepeatedExample, TrainExamples
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
) -> TrainData:
    """Return the run's train clips for `steps` steps. The callbacks are those of a `StepOrder`."""
    order = ClipSampler(
        clips,
        schedule.clips_per_step(plan),
        steps,
        lambda found: schedule.refuse_too_few(found, plan),
        check_stop,
        on_read,
    )
    replacements = ReplacementClips(clips.listed, clips.max_dropped_fraction, _window_of)
    return TrainData(TrainExamples(len(order), make, replacements.take), order)


def _window_of(_: Clip) -> int:
    # All clips have the same window, so any may replace another. A loader may pickle this, so it is no lambda.
    return 0


def of_one_example(example: Example, plan: IpuPlan) -> TrainData:
    """Return one step that repeats one example. That is enough to compile for its shape."""
    clips_per_step = schedule.clips_per_step(plan)
    nobody = Clip("", WholeFile(""), "", 0.0)
    order = ClipSampler(ListedClips((nobody,) * clips_per_step, 0, "0"), clips_per_step, steps=1)
    return TrainData(RepeatedExample(example, clips_per_step), order)
