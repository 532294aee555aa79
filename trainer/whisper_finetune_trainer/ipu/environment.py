"""Whether this pod can run on IPUs: PopTorch of the right SDK, an active partition, IPUs that nobody else uses."""

import importlib
import logging
import os
import re
import shutil
import subprocess
import time
from typing import Any, Optional

from whisper_finetune_trainer.messages.errors import TrainerError

#: The Poplar SDK that optimum-graphcore 0.7.1 is made for.
SDK_VERSION = "3.3"
_GC_INFO = "gc-info"
_GC_INFO_SECONDS = 30
_PARTITION_STATE = re.compile(r"Partition:?\s+(\S+)\s+\[([^\]]+)\]", re.IGNORECASE)
_NOT_ACTIVE = re.compile(r"partition is not active", re.IGNORECASE)
_POLL_SECONDS = 5.0
#: What PopTorch says of IPUs that exist and are in use, and of IPUs that do not exist.
_IN_USE = "Failed to acquire"
_ABSENT = ("No IPU detected", "No device found")
logger = logging.getLogger(__name__)


def require_poptorch() -> Any:
    """Return PopTorch. Nothing may have imported it before.

    Raises ConfigInvalid where it is missing or of another SDK.
    """
    # With this variable PopTorch waits for IPUs without end. In a training it waits with the interpreter's lock, so
    # that nothing can end it. It reads the variable once, at the first IPU in use. `wait_for_ipus` waits instead.
    os.environ["POPTORCH_WAIT_FOR_IPU"] = "0"
    try:
        poptorch = importlib.import_module("poptorch")
    except (ImportError, AssertionError) as error:
        raise TrainerError(
            "ConfigInvalid",
            f"accelerator ipu: PopTorch cannot be loaded ({_line(error)}); the runtime's image must be based on "
            f"graphcore/pytorch:{SDK_VERSION}.0 with the SDK enabled",
        ) from error
    version = str(poptorch.__version__)
    if not version.startswith(f"{SDK_VERSION}."):
        raise TrainerError(
            "ConfigInvalid",
            f"accelerator ipu: PopTorch is {version}, and optimum-graphcore 0.7.1 needs {SDK_VERSION}; take an image "
            f"based on graphcore/pytorch:{SDK_VERSION}.0",
        )
    return poptorch


def require_active_partition() -> None:
    """Raise AcceleratorUnavailable where gc-info is installed and says that the partition is not active."""
    listing = _gc_info()
    if listing is None:
        return
    inactive = [(name, state) for name, state in _PARTITION_STATE.findall(listing) if state.strip().lower() != "active"]
    if inactive or _NOT_ACTIVE.search(listing):
        named = ", ".join(f"{name} is {state}" for name, state in inactive) or "the partition is not active"
        raise TrainerError(
            "AcceleratorUnavailable",
            f"accelerator ipu: {named}; check it with `vipu-admin list partitions` and reset or recreate it",
        )


def wait_for_ipus(poptorch: Any, ipus: int, seconds: int) -> None:
    """Return once `ipus` IPUs are free.

    Raises AcceleratorUnavailable where they do not exist, or are not free within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        fault = _try_to_attach(poptorch, ipus)
        if fault is None:
            return
        if _IN_USE not in fault or any(words in fault for words in _ABSENT):
            raise TrainerError(
                "AcceleratorUnavailable",
                f"accelerator ipu: {fault}; check driver, V-IPU server and partition with `gc-info`",
            )
        left = deadline - time.monotonic()
        if left <= 0:
            raise TrainerError(
                "AcceleratorUnavailable",
                f"accelerator ipu: {ipus} IPUs were in use by others for {seconds} s; find them with `gc-monitor`, "
                "or raise the runtime's ipuWaitSeconds",
            )
        logger.info("%d IPUs are in use; waiting for at most %.0f s more", ipus, left)
        time.sleep(min(_POLL_SECONDS, left))


def _try_to_attach(poptorch: Any, ipus: int) -> Optional[str]:
    """Compile the smallest program there is for all IPUs, and attach to them. Return the fault, or None."""
    torch = importlib.import_module("torch")
    options = poptorch.Options().replicationFactor(ipus)
    program = poptorch.inferenceModel(torch.nn.ReLU(), options)
    try:
        program.compile(torch.zeros(ipus))
    except poptorch.Error as error:
        # The program has nothing of the run in it. So any error is the hardware's, whatever its text.
        return _line(error)
    program.detachFromDevice()
    return None


def _gc_info() -> Optional[str]:
    program = shutil.which(_GC_INFO)
    if program is None:
        return None
    try:
        ran = subprocess.run(
            [program, "--list-devices"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_GC_INFO_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.warning("%s says nothing about the partition: %s", program, _line(error))
        return None
    return ran.stdout.decode(errors="replace")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
