"""Plan how a spec is run: its schedule, batch shape and memory. Pure. Operator and trainer both call it."""

import math
from itertools import combinations
from typing import Any, Dict, Iterator, List, Optional, Tuple

from pydantic import Field
from typing_extensions import Literal

from whisper_finetune_api import addresses
from whisper_finetune_api.planning import ipu_planning, training_memory
from whisper_finetune_api.planning.ipu_plan import IpuPlan
from whisper_finetune_api.planning.model_dimensions import AUDIO_POSITIONS, DIMENSIONS, Dimensions, dimensions_of
from whisper_finetune_api.planning.training_memory import MemoryEstimate, MicroBatch, Precision
from whisper_finetune_api.run import Accelerator, Schedule
from whisper_finetune_api.v1alpha1 import UNPACKED, Training, WhisperFineTuneSpec
from whisper_finetune_api.v1alpha1.api_model import ApiModel

#: Largest micro-batch by accelerator where the user names none. On a CPU more clips at a time gain nothing and cost
#: memory. On a GPU the trainer finds how many fit, and this is what a plan reckons with.
_LARGEST_MICRO_BATCH = {"cpu": 8, "cuda": 16, "ipu": 1}
#: Workers that make features while an accelerator is busy. GPUs have threads. CPUs have none, because the training
#: keeps them busy, but one where clips lie in a store, which may not answer. IPUs have as many processes as in
#: Graphcore's notebook.
FEATURE_THREADS = {"cpu": 0, "cuda": 4}
LOADER_PROCESSES = 16
#: More clips would wait longer for the longest text among them.
CLIPS_TRANSCRIBED_AT_ONCE = 16
#: Of the encoder's output, in the shortest window that clips are cut to.
_LEAST_POSITIONS = 250
#: Of a label with a word or two.
_LEAST_TOKENS = 8
#: How many batches a process prepares ahead.
BATCHES_OF_PROCESS = 2
#: Log-mel frames of a window of 30 s, which IPUs always get.
_FRAMES = 2 * AUDIO_POSITIONS
_BYTES_OF_FEATURE = {"Half": 2, "Float": 4}


class Loader(ApiModel):
    """The workers that make features beside the training."""

    kind: Literal["Threads", "Processes"]
    workers: int = Field(description="At most: processes are fewer where CPUs or /dev/shm are.")
    shared_memory_bytes: int = Field(description="Of /dev/shm, by which processes hand over their batches.")


class RunPlan(ApiModel):
    """The plan of a run."""

    accelerator: Accelerator
    schedule: Schedule
    trained_parameters: Optional[int] = Field(None, description="Absent for a model outside the dimension table.")
    parameters: Optional[int] = None
    memory_bytes: Optional[int] = Field(None, description="memory.peak; of IPUs ipu.bytesPerIpu has it.")
    memory: Optional[MemoryEstimate] = Field(None, description="Of a GPU or CPU, for the longest clips and labels.")
    loader: Optional[Loader] = Field(None, description="Absent where an IPU's model is outside of the table.")
    ipu: Optional[IpuPlan] = Field(None, description="The layout on the IPUs.")


def make_run_plan(
    spec: WhisperFineTuneSpec,
    accelerator: Accelerator,
    dimensions: Optional[Dimensions] = None,
    ipus: Optional[int] = None,
) -> RunPlan:
    """Return the plan.

    `dimensions` are the model's own where its config.json has been read, and `ipus` is the size of the partition. A
    model of unknown size is planned for one replica, and its trainer plans again. Raises IpuPlanError with what is
    impossible.
    """
    known = dimensions or dimensions_of(spec.model)
    if known is None:
        return RunPlan(
            accelerator=accelerator,
            schedule=make_schedule(spec.training, accelerator),
            loader=_loader(spec, accelerator),
        )
    trained = known.decoder_parameters if spec.training.trainable == "Decoder" else known.parameters
    ipu = _ipu_plan(spec, accelerator, known, ipus)
    schedule = make_schedule(spec.training, accelerator, ipu)
    batch = longest_micro_batch(spec.training, schedule.micro_batch_size)
    precision = usual_precision(spec.training, accelerator)
    memory = None if ipu else memory_of(known, spec.training, batch, precision)
    return RunPlan(
        accelerator=accelerator,
        schedule=schedule,
        parameters=known.parameters,
        trained_parameters=trained,
        loader=_ipu_loader(spec.training, known, schedule) if ipu else _loader(spec, accelerator),
        memory_bytes=memory.peak if memory else None,
        memory=memory,
        ipu=ipu,
    )


def memory_of(
    dimensions: Dimensions, training: Training, micro_batch: MicroBatch, precision: Precision
) -> MemoryEstimate:
    """Return the estimate of a training on a GPU or CPU, and of its evaluations."""
    return training_memory.estimate_memory(
        dimensions,
        micro_batch,
        precision,
        trains_encoder=training.trainable == "All",
        evaluated=MicroBatch(CLIPS_TRANSCRIBED_AT_ONCE, AUDIO_POSITIONS, training.max_label_tokens),
    )


def longest_micro_batch(training: Training, clips: int) -> MicroBatch:
    """Return so many clips as long as Whisper's window, with labels as long as they may be."""
    parts, recomputes = _parts(training.batch_size, clips), training.gradient_checkpointing == "On"
    return MicroBatch(clips, AUDIO_POSITIONS, training.max_label_tokens, parts, recomputes)


def usual_precision(training: Training, accelerator: Accelerator) -> Precision:
    """Return the precision: the user's, else Half on a GPU and Float on a CPU, as most of them have it."""
    return training.precision or ("Half" if accelerator == "cuda" else "Float")


def least_bytes(training: Training, dimensions: Dimensions) -> int:
    """Return the least memory that a training can take on a GPU: with the shortest clips and labels, as few as allowed.

    Its evaluations always have Whisper's window.
    """
    clips = min(training.micro_batch_size or 1, training.batch_size)
    is_fitted = training.packing in UNPACKED and training.window != "Full"
    positions = _LEAST_POSITIONS if is_fitted else AUDIO_POSITIONS
    return training_memory.estimate_memory(
        dimensions,
        MicroBatch(
            clips,
            positions,
            _LEAST_TOKENS,
            _parts(training.batch_size, clips),
            recomputes=training.gradient_checkpointing != "Off",
        ),
        usual_precision(training, "cuda"),
        trains_encoder=training.trainable == "All",
        evaluated=MicroBatch(CLIPS_TRANSCRIBED_AT_ONCE, AUDIO_POSITIONS, _LEAST_TOKENS),
    ).peak


def changes_that_fit(model: str, training: Training, limit_bytes: int) -> Tuple[str, ...]:
    """Return what makes a training fit into so much memory, in words, beginning with what costs least.

    It is the first change of the training that does, and the largest smaller model of OpenAI's that does as it is.
    """
    known = dimensions_of(model)
    changed = [
        words
        for words, smaller in _smaller_trainings(training)
        if known is not None and least_bytes(smaller, known) <= limit_bytes
    ]
    fitting = [
        (dimensions.parameters, name)
        for name, dimensions in DIMENSIONS.items()
        if name.endswith(".en") == model.endswith(".en") and least_bytes(training, dimensions) <= limit_bytes
    ]
    return (*changed[:1], *([f"take {max(fitting)[1]}"] if fitting else []))


def _smaller_trainings(training: Training) -> Iterator[Tuple[str, Training]]:
    """Yield trainings that may take less memory, with their changes in words: first with one change, then with more."""
    changes: List[Tuple[str, Dict[str, Any]]] = []
    if (training.micro_batch_size or 1) > 1:
        changes.append(("leave training.microBatchSize out", {"micro_batch_size": None}))
    if usual_precision(training, "cuda") == "Float":
        changes.append(("set training.precision: Half", {"precision": "Half"}))
    if training.gradient_checkpointing == "Off":
        changes.append(("leave training.gradientCheckpointing out", {"gradient_checkpointing": None}))
    if training.window == "Full":
        changes.append(("leave training.window out", {"window": None}))
    if training.trainable == "All":
        changes.append(("set training.trainable: Decoder", {"trainable": "Decoder"}))
    for number in range(1, len(changes) + 1):
        for chosen in combinations(changes, number):
            update = {name: value for _, fields in chosen for name, value in fields.items()}
            yield " and ".join(words for words, _ in chosen), training.model_copy(update=update)


def _loader(spec: WhisperFineTuneSpec, accelerator: Accelerator) -> Optional[Loader]:
    threads = FEATURE_THREADS.get(accelerator)
    if threads is None:
        return None
    is_remote = addresses.claim_of(spec.dataset.source) is None
    return Loader(kind="Threads", workers=max(threads, int(is_remote)), shared_memory_bytes=0)


def _ipu_loader(training: Training, dimensions: Dimensions, schedule: Schedule) -> Loader:
    clips = schedule.replicas * schedule.gradient_accumulation_steps * schedule.micro_batch_size
    step_bytes = clips * dimensions.mel_bins * _FRAMES * _BYTES_OF_FEATURE[training.precision or "Half"]
    return Loader(
        kind="Processes",
        workers=LOADER_PROCESSES,
        shared_memory_bytes=LOADER_PROCESSES * BATCHES_OF_PROCESS * step_bytes,
    )


def _ipu_plan(
    spec: WhisperFineTuneSpec, accelerator: Accelerator, dimensions: Dimensions, ipus: Optional[int]
) -> Optional[IpuPlan]:
    if accelerator != "ipu":
        return None
    size = ipus or ipu_planning.smallest_partition(dimensions, spec.ipu_config)
    return ipu_planning.make_ipu_plan(spec.model, dimensions, size, spec.training, spec.ipu_config)


def make_schedule(training: Training, accelerator: Accelerator, ipu: Optional[IpuPlan] = None) -> Schedule:
    """Return the schedule of all replicas: their number divides the steps and multiplies the learning rate."""
    replicas = ipu.replication_factor if ipu else 1
    steps = max(1, training.steps // replicas)
    micro_batch_size = ipu.micro_batch_size if ipu else _micro_batch_size(training, accelerator)
    return Schedule(
        replicas=replicas,
        steps=steps,
        warmup_steps=math.floor(steps * float(training.warmup_fraction)),
        learning_rate=float(training.learning_rate) * replicas,
        micro_batch_size=micro_batch_size,
        gradient_accumulation_steps=_parts(training.batch_size, micro_batch_size),
        eval_every_steps=_divided(training.eval_every_steps, replicas),
        save_every_steps=_divided(training.save_every_steps, replicas),
    )


def schedule_for_older_trainers(schedule: Schedule, batch_size: int) -> Schedule:
    """Return the schedule with micro-batches that divide the batch: older trainers take their product for the batch.

    Newer trainers plan their own micro-batches, whatever they are told.
    """
    largest = max(size for size in range(1, schedule.micro_batch_size + 1) if batch_size % size == 0)
    return schedule.model_copy(
        update={"micro_batch_size": largest, "gradient_accumulation_steps": batch_size // largest}
    )


def _micro_batch_size(training: Training, accelerator: Accelerator) -> int:
    """Return the largest part, where the batch is divided into as few nearly equal parts as possible."""
    largest = training.micro_batch_size or _LARGEST_MICRO_BATCH[accelerator]
    return _parts(training.batch_size, _parts(training.batch_size, largest))


def _parts(number: int, largest: int) -> int:
    """Return into how many parts of at most `largest` a number is divided."""
    return -(-number // largest)


def _divided(every_steps: Optional[int], replicas: int) -> Optional[int]:
    return None if every_steps is None else max(1, every_steps // replicas)
