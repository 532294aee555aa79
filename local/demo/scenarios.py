"""What the demo can show: a real fine-tune on the CPU, or the whole way to IPUs with an emulation in their place."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from demo import volume
from demo.faults import DemoError
from demo.folders import DemoFolders
from demo.input import data
from demo.stopwatch import Stopwatch
from images.recipes import REPOSITORY, Recipe

EMULATED_CLIPS = 105


@dataclass(frozen=True)
class Scenario:
    """One way through the demo. `runtime` is an entry of the operator's runtimes file."""

    example: Path
    trainer: Recipe
    runtime: dict[str, Any]
    prepare: Callable[[DemoFolders, Stopwatch], None]
    fill: Callable[[DemoFolders, Path], None]
    verifiable: bool
    #: Whether model, speech and output are in a bucket. Otherwise they are on a volume.
    in_bucket: bool = False
    caveat: str = ""

    @cached_property
    def run(self) -> dict[str, Any]:
        """The object that is applied."""
        loaded: dict[str, Any] = yaml.safe_load(self.example.read_text(encoding="utf-8"))
        return loaded

    @property
    def run_name(self) -> str:
        name: str = self.run["metadata"]["name"]
        return name

    @property
    def runtimes(self) -> dict[str, Any]:
        """The chart's values for the runtimes of the cluster."""
        image = {"image": self.trainer.image, "imagePullPolicy": "Never"}
        return {"defaultRuntime": self.runtime["name"], "runtimes": [self.runtime | image]}


def prepare_nothing(folders: DemoFolders, watch: Stopwatch) -> None:
    """Do nothing: there is nothing to fetch."""
    del folders, watch


def fill_emulated(folders: DemoFolders, shared: Path) -> None:
    """Write a random Whisper and tones to train it on."""
    import tiny_whisper  # noqa: PLC0415 (torch takes seconds to import)
    import tones  # noqa: PLC0415 (beside it)

    del folders
    tiny_whisper.build(shared / "emulated" / "model", encoder_layers=2, decoder_layers=2, init_std=0.05)
    tones.write_clips(shared / "emulated" / "tones", EMULATED_CLIPS)
    volume.make_runs_folder(shared)


SCENARIOS = {
    "cpu": Scenario(
        example=REPOSITORY / "docs" / "examples" / "demo.yaml",
        trainer=Recipe("trainer"),
        runtime={
            "name": "cpu",
            "accelerator": "cpu",
            "resources": {"requests": {"cpu": "1", "memory": "3Gi"}, "limits": {"memory": "8Gi"}},
        },
        prepare=data.prepare,
        fill=volume.fill,
        verifiable=True,
    ),
    "ipu-emulated": Scenario(
        example=REPOSITORY / "local" / "demo" / "ipu-emulated.yaml",
        trainer=Recipe("trainer-ipu"),
        runtime={
            "name": "ipu-emulated",
            "accelerator": "ipu",
            "partitions": {
                "apiHost": "127.0.0.1",
                "pool": [{"id": "emulated-2", "ipus": 2}, {"id": "emulated-4", "ipus": 4}],
            },
            "executableCache": {"emptyDir": {}},
            "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "3Gi"}},
        },
        prepare=prepare_nothing,
        fill=fill_emulated,
        verifiable=False,
        caveat="EMULATED: no IPU took part. optimum-graphcore 0.7.1 trained a random Whisper on tones, on an emulation "
        "of PopTorch\non the CPU: this shows the way, and says nothing of how fast or how good a run on IPUs is.",
    ),
}
"""By the runtime's name."""

IN_BUCKET = {
    "cpu": replace(SCENARIOS["cpu"], example=REPOSITORY / "local" / "demo" / "s3.yaml", in_bucket=True),
}
"""The same, from a bucket to a bucket."""


def of(runtime: str, output: str) -> Scenario:
    """Return the scenario for a runtime and for where its data is, `pvc` or `s3`. Raises DemoError without one."""
    offered = IN_BUCKET if output == "s3" else SCENARIOS
    if runtime not in offered:
        raise DemoError(f"there is no demo for runtime {runtime!r}: take {' or '.join(offered)}")
    return offered[runtime]
