"""The table of every model on every partition size, from the plan that operator and trainer use."""

from collections.abc import Iterator
from itertools import groupby

from whisper_finetune_api.planning import ipu_layout, ipu_planning, model_dimensions, run_plan
from whisper_finetune_api.planning.ipu_plan import IpuPlan, IpuPlanError
from whisper_finetune_api.planning.model_dimensions import Dimensions
from whisper_finetune_api.v1alpha1 import Training

HEADER = (
    "model", "IPUs", "replicas", "layers per IPU", "to transcribe", "steps", "learning rate", "smallest `batchSize`",
    "fullest IPU, MB", "",
)  # fmt: skip
DEFAULT_BATCH = Training().batch_size

Row = tuple[str, ...]


def rows() -> Iterator[Row]:
    """Yield the rows. Sizes that are refused with the same words share a row."""
    for model, dimensions in model_dimensions.DIMENSIONS.items():
        made = [row_of(model, dimensions, ipus) for ipus in ipu_layout.PARTITION_SIZES]
        for _, alike in groupby(made, key=lambda row: (row[1:], "")[row[1] != ""] or row):
            group = list(alike)
            yield (f"`{model}`", ", ".join(row[0] for row in group), *group[-1][1:])


def row_of(model: str, dimensions: Dimensions, ipus: int) -> Row:
    """Return the cells after the model: IPUs, then the plan and its warnings, or empty cells and the refusal."""
    try:
        smallest = smallest_batch(model, dimensions)
        training = Training(batch_size=max(DEFAULT_BATCH, smallest))
        plan = ipu_planning.make_ipu_plan(model, dimensions, ipus, training)
    except IpuPlanError as refusal:
        words = str(refusal).removeprefix(model).removeprefix(": ").strip()
        return (str(ipus), *[""] * (len(HEADER) - 3), f"refused: {without_size(words, ipus)}")
    return (str(ipus), *planned(model, plan, training, smallest))


def smallest_batch(model: str, dimensions: Dimensions) -> int:
    """Return the number of pipeline stages. A step must have at least as many micro-batches."""
    largest = ipu_layout.PARTITION_SIZES[-1]
    plan = ipu_planning.make_ipu_plan(model, dimensions, largest, Training(batch_size=4096))
    return ipu_layout.pipeline_stages(plan.layers_per_ipu, dimensions.encoder_layers)


def planned(model: str, plan: IpuPlan, training: Training, smallest: int) -> Row:
    """Return the cells of a valid plan, which has the defaults of everything else."""
    schedule = run_plan.make_schedule(training, "ipu", plan)
    notes = [f"with `batchSize` {training.batch_size}"] if training.batch_size != DEFAULT_BATCH else []
    notes += [warning.removeprefix(f"{model} on IPUs is ") for warning in plan.warnings]
    return (
        str(plan.replication_factor),
        listed(plan.layers_per_ipu),
        listed(plan.inference_layers_per_ipu),
        str(schedule.steps),
        f"{schedule.learning_rate:.3g}",
        str(smallest),
        str(max(plan.bytes_per_ipu) // 10**6),
        "; ".join(notes),
    )


def listed(layers: tuple[int, ...]) -> str:
    return " ".join(map(str, layers))


def without_size(words: str, ipus: int) -> str:
    """Return the message without the size that was asked for, because a row names several sizes."""
    return words.replace(f"ipus is {ipus}, ", "")
