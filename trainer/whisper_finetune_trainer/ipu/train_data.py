"""What the library trains on: examples, and the order in which its loader asks for them."""

from typing import NamedTuple, Sized

from whisper_finetune_api.planning.ipu_plan import IpuPlan
from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer.data.clips import Clip, Clips
from whisper_finetune_trainer.data.streams.train_stream import TrainStream
from whisper_finetune_trainer.ipu import schedule
from whisper_finetune_trainer.ipu.clip_sampler import StreamOrder
from whisper_finetune_trainer.ipu.examples import ExampleMaker, Examples, StreamedExamples
from whisper_finetune_trainer.ipu.order import ClipOrder, Order
from whisper_finetune_trainer.model.replacement_clips import StandIns


class TrainData(NamedTuple):
    """The order yields what the examples are asked for by."""

    examples: Sized
    order: Order


def of_clips(clips: Clips, config: TrainerConfig, plan: IpuPlan, make: ExampleMaker) -> TrainData:
    """Return the run's train clips, a list or a stream."""
    if clips.stream is not None:
        return _of_stream(clips.stream, config, plan, make)
    stand_ins = StandIns(clips.train, config.spec.dataset.max_dropped_fraction, _window_of)
    return of_examples(Examples(clips.train, make, stand_ins.take), config, plan)


def _window_of(_: Clip) -> int:
    # All clips have the same, so any may stand in. No lambda: a loader may pickle it.
    return 0


def of_examples(examples: Sized, config: TrainerConfig, plan: IpuPlan) -> TrainData:
    """Return examples that are asked for by their places."""
    order = ClipOrder(len(examples), schedule.clips_per_step(plan), config.spec.training.seed)
    return TrainData(examples, order)


def _of_stream(stream: TrainStream, config: TrainerConfig, plan: IpuPlan, make: ExampleMaker) -> TrainData:
    order = StreamOrder(
        stream,
        schedule.clips_per_step(plan),
        config.schedule.steps,
        lambda clips: schedule.refuse_too_few(clips, plan),
    )
    return TrainData(StreamedExamples(len(order), make), order)
