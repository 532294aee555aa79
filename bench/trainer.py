"""Clips per second of this trainer and of the plain transformers recipe, side by side, with both word error rates.

    make bench-trainer                     # or: .venv/bin/python bench/trainer.py --steps 30 --clips 120

Both fine-tune the decoder of the demo's Whisper base on the same Italian clips with the same schedule: this trainer as
`trainable: Decoder` does, the other with Seq2SeqTrainer, float32 and every clip in 30 s. They take their steps in turn
in one process, so that the machine is the same for both and their threads wait in the same way. On both sides the time
to read the sound and to make features counts. Word error rates are those of the whole held-out split, in 30 s windows,
by this trainer's code for all three models.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import plain_recipe
import source_roots  # noqa: F401 -- finds the packages below
import torch
from tqdm import tqdm

import clip_loading
import model_loading
from demo import folders
from whisper_finetune_api.planning import run_plan
from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.evaluation import evaluations, wer
from whisper_finetune_trainer.machine import pod_limits
from whisper_finetune_trainer.model import clip_fitting, model
from whisper_finetune_trainer.model.backend import BackendSettings
from whisper_finetune_trainer.pytorch.backend import TorchBackend

LANGUAGE = folders.LANGUAGE
CLAIM = "demo"


def main() -> int:
    """Measure both sides and print the table, then the same as JSON."""
    arguments = _parser().parse_args()
    demo = folders.DemoFolders(folders.default_root())
    if not (demo.model / "config.json").exists() or not (demo.speech / "manifest.jsonl").exists():
        print(f"error: the demo's model and speech are not in {demo.root}; `python local/demo data` fetches them")
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        print(json.dumps(measure(_config(arguments, demo, scratch), demo.model)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30, help="optimizer steps of each side (default: %(default)s)")
    parser.add_argument("--clips", type=int, default=120, help="train clips; 30 steps of 8 see 120 twice, as the demo")
    parser.add_argument("--batch-size", type=int, default=8, help="clips of one step (default: %(default)s)")
    parser.add_argument("--eval-clips", type=int, help="held-out clips (default: all)")
    return parser


def _config(arguments: argparse.Namespace, demo: folders.DemoFolders, scratch: str) -> TrainerConfig:
    spec = WhisperFineTuneSpec.model_validate(
        {
            "model": f"pvc://{CLAIM}/{demo.model.relative_to(demo.root)}",
            "language": LANGUAGE,
            "dataset": {
                "source": f"pvc://{CLAIM}/{demo.speech.relative_to(demo.root)}",
                "maxTrainClips": arguments.clips,
                "maxEvalClips": arguments.eval_clips,
            },
            "training": {"trainable": "Decoder", "steps": arguments.steps, "batchSize": arguments.batch_size},
            "output": {"uri": f"pvc://{CLAIM}/unused"},
        }
    )
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    return TrainerConfig(
        name="bench",
        namespace="bench",
        uid="bench",
        spec=spec,
        accelerator=accelerator,
        schedule=run_plan.make_schedule(spec.training, accelerator),
        volumes={CLAIM: str(demo.root)},
        progress_port=0,
        scratch_folder=scratch,
        scratch_limit_bytes=2**34,
    )


def measure(config: TrainerConfig, model_folder: Path) -> dict[str, Any]:
    """Train both sides in turn and measure the three models."""
    found = clip_loading.load_clips(config)
    loaded = model_loading.load_model(config)
    clips = clip_fitting.fit_clips(found, loaded, config.accelerator)
    backend = TorchBackend(_settings(config), loaded, clips)
    schedule = config.schedule
    hardware, steps = f"{backend.ran_on.hardware}, {backend.ran_on.software}", f"{schedule.steps} steps"
    print(f"{hardware}; {steps} on {len(clips.train.listed)} clips")
    before = _error_rates("before training", backend, loaded, clips)
    ours = _Side(backend.steps(0), schedule.steps)
    network, plain_seconds = plain_recipe.train(model_folder, clips.train.listed, LANGUAGE, schedule, ours.take_step)
    after = _error_rates("this trainer", backend, loaded, clips)
    plain = _plain_error_rates(config, network, loaded, clips)
    result = _result(config, plain_seconds, ours.seconds, (before, plain, after))
    print(_table(result))
    return result


class _Side:
    """The steps of this trainer, with the time of each."""

    def __init__(self, steps: Iterator[Any], count: int) -> None:
        self.seconds: list[float] = []
        self._steps = steps
        self._bar = tqdm(total=count, desc="steps, in turn", unit="step")

    def take_step(self) -> None:
        since = time.perf_counter()
        next(self._steps)
        self.seconds.append(time.perf_counter() - since)
        self._bar.update()


def _settings(config: TrainerConfig) -> BackendSettings:
    return BackendSettings(
        accelerator=config.accelerator,
        training=config.spec.training,
        schedule=config.schedule,
        ipu_plan=None,
        scratch_folder=config.scratch_folder,
        encoder_outputs_bytes=config.scratch_limit_bytes,
        ipu_wait_seconds=config.ipu_wait_seconds,
        cpus=pod_limits.available_cpus(),
    )


def _error_rates(what: str, backend: TorchBackend, loaded: model.LoadedModel, clips: Clips) -> wer.Measurement:
    with tqdm(total=len(clips.evaluation), desc=f"word error rate, {what}", unit="clip") as bar:
        heard = backend.transcribe(clips.evaluation, lambda done: bar.update(done - bar.n) and None)
    return evaluations.measure_clips(clips.evaluation, heard, loaded)


def _plain_error_rates(config: TrainerConfig, network: Any, loaded: model.LoadedModel, clips: Clips) -> wer.Measurement:
    network.generation_config = loaded.network.generation_config
    plain = replace(loaded, network=network)
    return _error_rates("plain recipe", TorchBackend(_settings(config), plain, clips), plain, clips)


def _result(
    config: TrainerConfig,
    plain_seconds: list[float],
    our_seconds: list[float],
    measured: tuple[wer.Measurement, wer.Measurement, wer.Measurement],
) -> dict[str, Any]:
    clips = config.spec.training.batch_size * len(our_seconds)
    speeds = {"plain": clips / sum(plain_seconds), "trainer": clips / sum(our_seconds)}
    pairs = [plain / ours for plain, ours in zip(plain_seconds, our_seconds, strict=True)]
    spread = {"median": statistics.median(pairs), "min": min(pairs), "max": max(pairs)}
    names = ("before", "plain", "trainer")
    return {
        "clipsPerSecond": _rounded(speeds),
        "ratio": round(sum(plain_seconds) / sum(our_seconds), 2),
        "ratioOfSteps": _rounded(spread),
        "wer": {name: figures.to_report().to_json_object() for name, figures in zip(names, measured, strict=True)},
    }


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in figures.items()}


def _table(result: dict[str, Any]) -> str:
    speed, rates, spread = result["clipsPerSecond"], result["wer"], result["ratioOfSteps"]
    lines = [f"{'':24}{'clips/s':>10}{'WER':>10}{'normalized':>12}"]
    for name, label in (("before", "before training"), ("plain", "plain transformers"), ("trainer", "this trainer")):
        clips = f"{speed[name]:.2f}" if name in speed else ""
        lines.append(f"{label:24}{clips:>10}{rates[name]['wer']:>10}{rates[name]['normalizedWer']:>12}")
    lines.append(f"ratio {result['ratio']} (by step: median {spread['median']}, {spread['min']} to {spread['max']})")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
