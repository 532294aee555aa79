"""Graphcore's notebook and this trainer with the same values have the same losses, error rates and weights.

Only here the trainer keeps the library's own order of clips and its own loader, so that both draw the same random
numbers. Normalized texts are compared with the notebook's normalizer.
"""

import json
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import jiwer
import notebook
import pytest
import soundfile
import tiny_model
import torch
from ipu_runs import IpuVolume
from optimum.graphcore import IPUConfig, IPUSeq2SeqTrainer, IPUSeq2SeqTrainingArguments
from optimum.graphcore.trainer import IPUTrainer

from whisper_finetune_api.planning import run_plan
from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_trainer.ipu import library_arguments
from whisper_finetune_trainer.ipu.trainer import IpuTrainer

STEPS = 12
SEED = 42  # the library's own
CLIPS, HELD_OUT = 20, 6


class Recorder:
    """What both trainers do, noted in the library itself."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.losses: List[float] = []
        self.random_states: List[torch.Tensor] = []
        step, sampler = IPUTrainer.training_step, IPUSeq2SeqTrainer._get_train_sampler

        def training_step(trainer: Any, model: Any, inputs: Any) -> torch.Tensor:
            loss = step(trainer, model, inputs)
            self.losses.append(loss.item())
            return loss

        def noting_sampler(trainer: Any) -> Any:
            self.random_states.append(torch.get_rng_state())
            return sampler(trainer)

        def repeating_sampler(trainer: Any) -> Any:
            torch.set_rng_state(self.random_states[0])
            trainer.order = LibraryOrder(trainer, sampler)
            return trainer.order

        patch.setattr(IPUTrainer, "training_step", training_step)
        patch.setattr(IPUSeq2SeqTrainer, "_get_train_sampler", noting_sampler)
        patch.setattr(IpuTrainer, "_get_train_sampler", repeating_sampler)
        patch.setattr(IpuTrainer, "get_train_dataloader", IPUSeq2SeqTrainer.get_train_dataloader)


class LibraryOrder:
    """Our clips in the order of the library's own sampler, which yields their indexes; it cannot be resumed."""

    def __init__(self, trainer: Any, sampler: Callable[[Any], Any]) -> None:
        self._clips = trainer.order._order._clips.listed
        ours, trainer.train_dataset = trainer.train_dataset, self._clips
        self._indexes = sampler(trainer)
        trainer.train_dataset = ours

    def __len__(self) -> int:
        return len(self._indexes)

    def __iter__(self) -> Iterator[Any]:
        return (self._clips[index] for index in self._indexes)

    def took(self, step: int) -> None:
        """Nothing is to be noted."""

    def state(self) -> Dict[str, Any]:
        return {}


def rows(folder: Path, split: str) -> List[Dict[str, Any]]:
    lines = (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [row_of(folder, **json.loads(line)) for line in lines]


def row_of(folder: Path, audio: str, text: str) -> Dict[str, Any]:
    samples, rate = soundfile.read(folder / audio, dtype="float32")
    return {"audio": {"array": samples.tolist(), "sampling_rate": rate}, "sentence": text}


@pytest.mark.parametrize("ipus", [2, 4], ids=["1 replica", "2 replicas"])
def test_the_notebook_and_our_trainer_do_the_same(ipus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUM_AVAILABLE_IPU", str(ipus))
    monkeypatch.setenv("POPLAR_EXECUTABLE_CACHE_DIR", str(tmp_path / "executables"))
    clips = tiny_model.write_clips(tmp_path / "clips", CLIPS)
    tiny_model.write_clips(clips, HELD_OUT, name="eval")
    # In the notebook's time no tokenizer knew the timestamps, so that none was shown in a text.
    model = tiny_model.write_model(tmp_path / "model", timestamps=0)
    recorder = Recorder(monkeypatch)
    theirs = notebook.run(
        {split: rows(clips, split) for split in ("train", "eval")}, str(model), STEPS, str(tmp_path / "notebook")
    )
    their_losses, recorder.losses = recorder.losses, []

    volume = IpuVolume(tmp_path, tmp_path / "ours")
    volume.folder.mkdir()
    config = volume.config(
        ipus=ipus,
        spec={
            "language": "es",
            "dataset": {"source": "pvc://speech/clips", "evalSplit": "eval"},
            "ipuConfig": {"matmulProportion": ["0.2", "0.6"], "recomputeCheckpointEveryLayer": True},
        },
        steps=STEPS,
        seed=SEED,
        precision="Half",
        learningRate="1e-3",
        batchSize=4,
        maxLabelTokens=notebook.MAX_LENGTH,
    )
    ended = volume.attempt(config)
    assert ended.exit_code == 0, ended.result.message

    assert len(recorder.losses) == 2 * STEPS // ipus
    assert recorder.losses == their_losses
    weights = volume.weights()
    found = {name: weight.detach().float() for name, weight in theirs.model.named_parameters()}
    assert [name for name in found if not torch.equal(found[name], weights[name])] == []
    assert ended.result.baseline is not None
    assert ended.result.result is not None
    assert float(ended.result.baseline.wer) == pytest.approx(theirs.before["eval_wer"], abs=0.005)
    assert float(ended.result.result.wer) == pytest.approx(theirs.after["eval_wer"], abs=0.005)
    evaluations = [volume.json("baseline.json"), volume.json(f"evaluations/evaluation-{2 * STEPS // ipus}.json")]
    for theirs_measured, ours in zip((theirs.before, theirs.after), evaluations):
        normalized = their_normalized_wer(ours["hypotheses"], theirs.tokenizer)
        assert normalized == pytest.approx(theirs_measured["eval_normalized_wer"])
    # What was heard has changed, or nothing would be shown.
    assert evaluations[0]["hypotheses"] != evaluations[1]["hypotheses"]


def their_normalized_wer(hypotheses: List[str], tokenizer: Any) -> float:
    references = [tiny_model.TEXTS[number % len(tiny_model.TEXTS)] for number in range(HELD_OUT)]
    normalized = [[tokenizer._normalize(text).strip() for text in texts] for texts in (references, hypotheses)]
    return 100 * jiwer.wer(*normalized)


#: Where our arguments differ from the notebook's, and why: our loop evaluates and saves, an evaluation drops no clip,
#: the order of the clips finds its own place, our display shows the progress, and the default seed is 0.
OURS = {
    "output_dir",
    "logging_dir",
    "run_name",
    "evaluation_strategy",
    "eval_steps",
    "save_strategy",
    "save_steps",
    "dataloader_drop_last",
    "ignore_data_skip",
    "disable_tqdm",
    "seed",
}


def notebook_ipu_config(replication_factor: int) -> Dict[str, Any]:
    return {
        "optimizer_state_offchip": True,
        "recompute_checkpoint_every_layer": True,
        "enable_half_partials": True,
        "executable_cache_dir": "/cache/whisper_finetuning",
        "gradient_accumulation_steps": 16,
        "replication_factor": replication_factor,
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


def notebook_arguments(replication_factor: int, output_dir: str) -> IPUSeq2SeqTrainingArguments:
    total_steps = 1000 // replication_factor
    return IPUSeq2SeqTrainingArguments(
        output_dir=output_dir,
        do_train=True,
        do_eval=True,
        predict_with_generate=True,
        learning_rate=1e-5 * replication_factor,
        warmup_steps=total_steps // 4,
        evaluation_strategy="steps",
        eval_steps=total_steps,
        max_steps=total_steps,
        save_strategy="steps",
        save_steps=total_steps,
        logging_steps=25,
        dataloader_num_workers=16,
        dataloader_drop_last=True,
    )


@pytest.mark.parametrize("ipus", [4, 16])
def test_the_defaults_for_whisper_small_are_the_notebooks(ipus: int, tmp_path: Path) -> None:
    config = default_config(ipus)
    plan = run_plan.make_run_plan(config.spec, "ipu", ipus=ipus).ipu
    assert plan is not None
    ours = IPUConfig.from_dict(library_arguments.ipu_config(plan, "/cache/whisper_finetuning"))
    assert ours.to_dict() == IPUConfig.from_dict(notebook_ipu_config(ipus // 4)).to_dict()
    arguments = library_arguments.training_arguments(
        config.spec.training, config.schedule, str(tmp_path), library_arguments.LOADER_WORKERS
    )
    told = IPUSeq2SeqTrainingArguments(**arguments).to_dict()
    theirs = notebook_arguments(ipus // 4, str(tmp_path / "theirs")).to_dict()
    assert {name for name in theirs if told[name] != theirs[name]} <= OURS
    # The notebook measures at the end alone, and so does our loop.
    assert config.schedule.eval_every_steps is None
    assert config.spec.training.max_label_tokens == 224


def default_config(ipus: int) -> TrainerConfig:
    spec = WhisperFineTuneSpec.model_validate(
        {
            "model": "openai/whisper-small",
            "language": "es",
            "dataset": {"source": "openslr/openslr", "config": "SLR69"},
            "ipus": ipus,
            "output": {"uri": "pvc://models/catalan"},
        }
    )
    schedule = run_plan.make_run_plan(spec, "ipu", ipus=ipus).schedule
    return TrainerConfig(
        name="catalan",
        namespace="speech",
        uid="0badcafe",
        spec=spec,
        accelerator="ipu",
        ipus=ipus,
        schedule=schedule,
        progress_port=0,
        scratch_limit_bytes=0,
    )
