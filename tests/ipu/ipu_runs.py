"""Runs of the tiny model on emulated IPUs, in the test's own process."""

import os
from pathlib import Path
from typing import Any, Dict, Optional

import tiny_model

import clip_loading
import model_loading
from trainer_attempts import Volume
from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer.data.layouts.layout import LIMITS, StreamLimits
from whisper_finetune_trainer.machine import pod_limits
from whisper_finetune_trainer.model import clip_fitting
from whisper_finetune_trainer.model.backend import BackendSettings, plan_training
from whisper_finetune_trainer.training import opening

# On one CPU no processes make features: those of an attempt that was ended would wait for the garbage collector.
os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[os.getpid() % len(os.sched_getaffinity(0))]})

#: One replica of the tiny model's layout, [2, 2], which is a pipeline of three stages.
IPUS = 2
_TRAINING = {"batchSize": 4, "precision": "Float", "learningRate": "1e-3", "maxLabelTokens": 32}


def write_speech(folder: Path, clips: int = 20, **changes: Any) -> Path:
    """Write a volume with the tiny model, clips of which a fifth is held out, and validation clips.

    `changes` are of the model.
    """
    tiny_model.write_model(folder / "model", **changes)
    tiny_model.write_clips(folder / "clips", clips)
    tiny_model.write_clips(folder / "clips", 20, name="validation")
    return folder


class IpuVolume(Volume):
    """Where the runs of one test go."""

    def config(
        self,
        output: Optional[Dict[str, Any]] = None,
        spec: Optional[Dict[str, Any]] = None,
        ipus: int = IPUS,
        wait_seconds: int = 1,
        **training: Any,
    ) -> TrainerConfig:
        """Return the configuration of a short run; `training` are fields of spec.training."""
        made = super().config(output, {"ipus": ipus, **(spec or {})}, **{**_TRAINING, **training})
        return made.model_copy(update={"accelerator": "ipu", "ipus": ipus, "ipu_wait_seconds": wait_seconds})


class Run:
    """A backend with what it was made from."""

    def __init__(self, config: TrainerConfig, limits: StreamLimits = LIMITS) -> None:
        found = clip_loading.load_clips(config, limits)
        self.loaded = model_loading.load_model(config)
        self.clips = clip_fitting.fit_clips(found, self.loaded, config.accelerator, config.spec.training)
        plan = plan_training(config.spec, "ipu", config.ipus, self.loaded.dimensions)
        self.config = config.model_copy(update={"schedule": plan.schedule})
        settings = BackendSettings(
            accelerator="ipu",
            training=config.spec.training,
            schedule=plan.schedule,
            ipu_plan=plan.ipu,
            scratch_folder=config.scratch_folder,
            encoder_outputs_bytes=config.scratch_limit_bytes,
            ipu_wait_seconds=config.ipu_wait_seconds,
            cpus=pod_limits.available_cpus(),
        )
        self.backend: Any = opening.open_backend(settings, self.loaded, self.clips)
