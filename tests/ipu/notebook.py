"""Graphcore's notebook on fine-tuning Whisper, cell by cell. Only data set, model and partition differ.

https://github.com/huggingface/optimum-graphcore, notebooks/whisper_finetuning.ipynb. The layers, steps and lengths are
those of a model with 2 + 2 layers and a window of 2 seconds.
"""

import os
from dataclasses import dataclass
from typing import Any, Dict, List, Union

import jiwer
import numpy as np
import torch
from datasets import Dataset
from optimum.graphcore import IPUConfig, IPUSeq2SeqTrainer, IPUSeq2SeqTrainingArguments
from optimum.graphcore.models.whisper import WhisperProcessorTorch
from transformers import WhisperForConditionalGeneration

LANGUAGE = "spanish"
TASK = "transcribe"
MAX_LENGTH = 32


@dataclass
class DataCollatorSpeechSeq2SeqWithLabelProcessing:
    processor: Any

    def __call__(self, features: List[Dict[str, Union[List[int], torch.Tensor]]]) -> Dict[str, torch.Tensor]:
        batch = {}
        batch["input_features"] = torch.tensor([feature["input_features"] for feature in features])
        label_features = [{"input_ids": feature["labels"]} for feature in features]
        labels_batch = self.processor.tokenizer.pad(
            label_features, return_tensors="pt", padding="longest", pad_to_multiple_of=MAX_LENGTH
        )
        labels = labels_batch["input_ids"].masked_fill(labels_batch.attention_mask.ne(1), -100)
        batch["labels"] = labels
        return batch


def prepare_dataset(batch: Any, processor: Any) -> Any:
    inputs = processor.feature_extractor(
        raw_speech=batch["audio"]["array"], sampling_rate=batch["audio"]["sampling_rate"]
    )
    batch["input_features"] = inputs.input_features[0].astype(np.float16)
    transcription = batch["sentence"]
    batch["labels"] = processor.tokenizer(text=transcription).input_ids
    return batch


def compute_metrics(pred: Any, tokenizer: Any) -> Dict[str, float]:
    pred_ids = pred.predictions
    label_ids = pred.label_ids
    # replace -100 with the pad_token_id
    pred_ids = np.where(pred_ids != -100, pred_ids, tokenizer.pad_token_id)
    label_ids = np.where(label_ids != -100, label_ids, tokenizer.pad_token_id)
    pred_str = tokenizer.batch_decode(pred_ids, skip_special_tokens=True)
    label_str = tokenizer.batch_decode(label_ids, skip_special_tokens=True)
    normalized_pred_str = [tokenizer._normalize(pred).strip() for pred in pred_str]
    normalized_label_str = [tokenizer._normalize(label).strip() for label in label_str]
    # evaluate.load("wer") is this function of jiwer's.
    wer = 100 * jiwer.wer(label_str, pred_str)
    normalized_wer = 100 * jiwer.wer(normalized_label_str, normalized_pred_str)
    return {"wer": wer, "normalized_wer": normalized_wer}


@dataclass
class Ran:
    """What the notebook shows, and its model."""

    before: Dict[str, float]
    after: Dict[str, float]
    tokenizer: Any
    model: Any


def run(dataset: Dict[str, List[Dict[str, Any]]], model_name: str, steps: int, output_dir: str) -> Ran:
    """Run the notebook's cells on rows with `audio` and `sentence`."""
    n_ipu = int(os.getenv("NUM_AVAILABLE_IPU", "4"))
    executable_cache_dir = os.getenv("POPLAR_EXECUTABLE_CACHE_DIR", "/tmp/exe_cache/") + "/whisper_finetuning"

    processor = WhisperProcessorTorch.from_pretrained(model_name, language=LANGUAGE, task=TASK)
    processor.tokenizer.pad_token = processor.tokenizer.eos_token
    processor.tokenizer.max_length = MAX_LENGTH
    processor.tokenizer.set_prefix_tokens(language=LANGUAGE, task=TASK)

    prepared = {
        split: Dataset.from_list(rows).map(
            lambda elem: prepare_dataset(elem, processor), remove_columns=["audio", "sentence"], num_proc=1
        )
        for split, rows in dataset.items()
    }
    train_dataset = prepared["train"]
    eval_dataset = prepared["eval"]

    model = WhisperForConditionalGeneration.from_pretrained(model_name)
    model.config.max_length = MAX_LENGTH
    model.generation_config.max_length = MAX_LENGTH
    model.config.forced_decoder_ids = processor.tokenizer.get_decoder_prompt_ids(language=LANGUAGE, task=TASK)
    model.config.suppress_tokens = []
    model.generation_config.forced_decoder_ids = processor.tokenizer.get_decoder_prompt_ids(
        language=LANGUAGE, task=TASK
    )
    model.generation_config.suppress_tokens = []

    replication_factor = n_ipu // 2
    ipu_config = IPUConfig.from_dict(
        {
            "optimizer_state_offchip": True,
            "recompute_checkpoint_every_layer": True,
            "enable_half_partials": True,
            "executable_cache_dir": executable_cache_dir,
            "gradient_accumulation_steps": 4,
            "replication_factor": replication_factor,
            "layers_per_ipu": [2, 2],
            "matmul_proportion": [0.2, 0.6],
            "projection_serialization_factor": 8,
            "inference_replication_factor": 1,
            "inference_layers_per_ipu": [2, 2],
            "inference_parallelize_kwargs": {
                "use_cache": True,
                "use_encoder_output_buffer": True,
                "on_device_generation_steps": 16,
            },
        }
    )
    total_steps = steps // replication_factor
    training_args = IPUSeq2SeqTrainingArguments(
        output_dir=output_dir,
        do_train=True,
        do_eval=True,
        predict_with_generate=True,
        learning_rate=1e-3 * replication_factor,
        warmup_steps=total_steps // 4,
        evaluation_strategy="steps",
        eval_steps=total_steps,
        max_steps=total_steps,
        save_strategy="steps",
        save_steps=total_steps,
        logging_steps=25,
        dataloader_num_workers=0,
        dataloader_drop_last=True,
    )
    trainer = IPUSeq2SeqTrainer(
        model=model,
        ipu_config=ipu_config,
        args=training_args,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        data_collator=DataCollatorSpeechSeq2SeqWithLabelProcessing(processor),
        compute_metrics=lambda x: compute_metrics(x, processor.tokenizer),
        tokenizer=processor.feature_extractor,
    )
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    return Ran(before, after, processor.tokenizer, trainer.model)
