"""What messages say about a failing accelerator, and which failures are tried again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from trainer_configs import make_config, make_spec
from whisper_finetune_api import causes
from whisper_finetune_api.run import Accelerator, Stage
from whisper_finetune_api.v1alpha1 import Training
from whisper_finetune_trainer.entrypoints import attempt, ending
from whisper_finetune_trainer.machine import hardware_faults
from whisper_finetune_trainer.machine.hardware_faults import CardMemory
from whisper_finetune_trainer.machine.stopping import Stopped, StopRequest
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.progress.progress import Reporter

GIBIBYTE = 1 << 30
#: As PyTorch says it.
CUDA_OUT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 14.58 GiB of which 321.56 MiB is "
    "free. Including non-PyTorch memory, this process has 14.25 GiB memory in use."
)
OF_ITS_OWN = CardMemory("Tesla T4", 15 * GIBIBYTE, GIBIBYTE // 2, 14 * GIBIBYTE)
SHARED = CardMemory("Tesla T4", 15 * GIBIBYTE, GIBIBYTE // 2, 5 * GIBIBYTE)


def training_of(**training: Any) -> Training:
    return make_config(make_spec(training=training)).spec.training


def explained(
    error: Exception,
    stage: Stage = "Training",
    accelerator: Accelerator = "cuda",
    card: CardMemory | None = None,
    **training: Any,
) -> tuple[str, str]:
    """Return reason and message."""
    found = hardware_faults.explain(error, stage, accelerator, training_of(**training), card)
    assert found is not None
    return found.reason, found.message


def test_a_card_that_is_too_small_is_said_with_numbers_and_advice() -> None:
    assert explained(torch.cuda.OutOfMemoryError(CUDA_OUT_OF_MEMORY), card=OF_ITS_OWN) == (
        "OutOfMemory",
        (
            "accelerator cuda: out of memory while training; 2.00 GiB more were asked for; Tesla T4 has 15.0 GiB, "
            "0.5 GiB of them free; set training.trainable: Decoder, or take a smaller model, "
            "or a runtime with a larger card"
        ),
    )


@pytest.mark.parametrize(
    ("stage", "training", "advice"),
    [
        ("Evaluating", {}, "take a smaller model, or a runtime with a larger card"),
        ("Preparing", {}, "take a smaller model, or a runtime with a larger card"),
        (
            "Training",
            {"batchSize": 1, "trainable": "Decoder"},
            "take a smaller model, or a runtime with a larger card",
        ),
        (
            "Training",
            {"batchSize": 1, "precision": "Float"},
            (
                "set training.precision: Half, or set training.trainable: Decoder, or take a smaller model, "
                "or a runtime with a larger card"
            ),
        ),
    ],
)
def test_the_advice_is_what_helps_in_that_stage(stage: Stage, training: dict[str, Any], advice: str) -> None:
    reason, message = explained(torch.cuda.OutOfMemoryError(CUDA_OUT_OF_MEMORY), stage, **training)
    assert (reason, message.rpartition("; ")[2]) == ("OutOfMemory", advice)


@pytest.mark.parametrize(
    ("accelerator", "words"),
    [
        ("cuda", "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        ("cuda", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        ("cuda", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        (
            "ipu",
            "'poplar_stream_memory_allocation_error': irlowering.cpp:3516 Out of memory. Single stream of length 9",
        ),
        ("ipu", "'popart_exception': Out of memory: Cannot fit all variable data onto one or more tiles"),
    ],
)
def test_every_wording_of_too_little_memory_is_known(accelerator: Accelerator, words: str) -> None:
    assert explained(RuntimeError(words), accelerator=accelerator)[0] == "OutOfMemory"


def test_an_error_of_torchs_own_type_needs_no_words() -> None:
    assert explained(torch.cuda.OutOfMemoryError("HIP has no more"))[0] == "OutOfMemory"


def test_a_cpu_that_has_too_little_memory_ends_the_run_with_what_needs_less() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 46)
    assert explained(caught.value, accelerator="cpu", microBatchSize=6, precision="Float") == (
        "OutOfMemory",
        (
            "accelerator cpu: out of memory while training; 281474976710656 bytes more were asked for; "
            "lower training.microBatchSize below 6, or leave it out, or set training.precision: Half, "
            "or set training.trainable: Decoder, or take a smaller model, "
            "or a runtime with more memory"
        ),
    )


def test_memory_of_the_host_is_not_that_of_its_card() -> None:
    words = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 40 bytes")
    assert hardware_faults.explain(words, "Training", "cuda", training_of(), None) is None


def test_a_card_that_others_fill_is_tried_again() -> None:
    reason, message = explained(torch.cuda.OutOfMemoryError(CUDA_OUT_OF_MEMORY), card=SHARED)
    assert reason == "AcceleratorUnavailable"
    assert message.endswith("9.5 GiB of it are used by other processes: give the run a card of its own")


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("CUDA error: no kernel image is available for execution on the device", "not built for this card"),
        ("The NVIDIA driver on your system is too old (found version 12020).", "update the driver"),
        ("CUDA error: uncorrectable ECC error encountered", "drain the node"),
        ("CUDA error: CUDA-capable device(s) is/are busy or unavailable", "another process uses the card exclusively"),
        ("CUDA error: all CUDA-capable devices are busy or unavailable", "another process uses the card exclusively"),
        ("CUDA error: unspecified launch failure\nfor debugging consider", "look for Xid"),
    ],
)
def test_a_card_that_cannot_be_used_is_said_with_what_to_look_at(words: str, advice: str) -> None:
    reason, message = explained(RuntimeError(words))
    assert reason == "AcceleratorUnavailable"
    assert advice in message
    assert words.split("\n", maxsplit=1)[0] in message


@pytest.mark.parametrize(
    ("error", "accelerator"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "cuda"),
        (RuntimeError("CUDA error: device-side assert triggered"), "cuda"),
        (KeyError("wer"), "cuda"),
        (torch.cuda.OutOfMemoryError(CUDA_OUT_OF_MEMORY), "cpu"),
    ],
)
def test_what_is_no_fault_of_the_accelerator_stays_as_it_is(error: Exception, accelerator: Accelerator) -> None:
    assert hardware_faults.explain(error, "Training", accelerator, training_of(), None) is None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            MemoryError("Unable to allocate 9.31 GiB for an array"),
            "out of memory (MemoryError: Unable to allocate 9.31",
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 40 bytes"), "out of memory ("),
        (OSError(12, "Cannot allocate memory"), "out of memory ("),
        (OSError(28, "No space left on device", "/scratch/tmp/x"), "a disk is full (OSError: [Errno 28] No space left"),
        (RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 704 vs 598"), "a disk is full ("),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. "), "the shared memory is full ("),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "out of memory ("),
    ],
)
def test_what_a_machine_lacks_is_said_and_tried_again(error: Exception, message: str) -> None:
    def fail() -> Any:
        raise error

    ended = ending.ending_of_attempt(fail, Reporter())
    assert (ended.exit_code, ended.result.reason) == (1, None)
    assert ended.result.message.startswith(message)
    assert "give the runtime" in ended.result.message


def test_too_little_memory_on_an_accelerator_is_not_tried_again() -> None:
    assert causes.BY_REASON["OutOfMemory"].exit_code in causes.FINAL_EXIT_CODES


def test_an_attempt_that_runs_out_of_memory_says_in_which_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device, whose memory would be told")

    def train(_config: object, _folder: object, reporter: Reporter, *_: object) -> None:
        reporter.enter("Evaluating", clips_to_evaluate=4)
        raise torch.cuda.OutOfMemoryError(CUDA_OUT_OF_MEMORY)

    monkeypatch.setattr("whisper_finetune_trainer.training.train.train", train)
    reporter = Reporter()
    config = make_config(make_spec()).model_copy(
        update={"accelerator": "cuda", "volumes": {"speech": str(tmp_path)}, "scratch_folder": str(tmp_path)}
    )
    ended = ending.ending_of_attempt(lambda: attempt.make_attempt(config, reporter, StopRequest()), reporter)
    assert (ended.exit_code, ended.result.reason) == (64, "OutOfMemory")
    assert ended.result.message == (
        "accelerator cuda: out of memory while evaluating; 2.00 GiB more were asked for; "
        "take a smaller model, or a runtime with a larger card"
    )
    assert "in train\n" in caplog.text


@pytest.mark.parametrize(
    "error", [TrainerError("DatasetInvalid", "no clip"), Stopped(), RuntimeError("of the program")]
)
def test_a_card_is_asked_for_its_memory_only_where_that_ran_out(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: object) -> None:
        raise error

    def asked() -> None:
        raise AssertionError("a card takes seconds to begin, and need not be there")

    monkeypatch.setattr("whisper_finetune_trainer.training.train.train", train)
    monkeypatch.setattr("whisper_finetune_trainer.pytorch.device.card_memory", asked)
    config = make_config(make_spec()).model_copy(
        update={"accelerator": "cuda", "volumes": {"speech": str(tmp_path)}, "scratch_folder": str(tmp_path)}
    )
    with pytest.raises(type(error)) as caught:
        attempt.make_attempt(config, Reporter(), StopRequest())
    assert caught.value is error
