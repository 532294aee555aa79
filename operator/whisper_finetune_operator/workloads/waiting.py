"""What keeps a pod from starting and can be mended from outside, in the words of the kubelet or the scheduler."""

import re

from whisper_finetune_operator import phases
from whisper_finetune_operator.phases import NOT_STARTED, Phase
from whisper_finetune_operator.workloads.pods import Waiting
from whisper_finetune_operator.world import Refusal

_IMAGE_REASONS = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
_CONFIG_REASONS = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
#: The kubelet tells the same failure with and without this, in turn.
_BACK_OFF = re.compile(r"^Back-off pulling image \S+?(: ErrImagePull)?(: |$)")


def waiting_phase(waiting: Waiting) -> Phase | None:
    """Return the phase of a pod that waits for something that is missing; None where it is only on its way."""
    if waiting.reason in _IMAGE_REASONS:
        whose = f"the image of init container {waiting.container}" if waiting.container else "the runtime's image"
        return phases.waits("ImagePullFailed", f"mend {whose} or its pull secret: {_image_fault(waiting)}")
    if waiting.container:
        message = f"the trainer waits for init container {waiting.container}: {waiting.reason} {waiting.message}"
        return Phase("Pending", "Pending", message.rstrip())
    if waiting.reason in _CONFIG_REASONS:
        return _config_fault(waiting.message)
    if waiting.reason == "Unschedulable":
        return _scheduling_fault(waiting.message)
    return None


def refused_phase(refusal: Refusal) -> Phase:
    """Return the phase of a run whose Job, or whose Job's pod, the API server refuses."""
    return phases.waits("PodRefused", f"the cluster refuses it, which its admin can mend: {refusal.message}")


def obstructed_phase(obstacle: Refusal) -> Phase:
    """Return the phase of a run whose pod has a node that cannot begin it."""
    if "volume" in obstacle.message.lower():
        return phases.waits("VolumeNotMounted", f"a volume cannot be attached or mounted: {obstacle.message}")
    return Phase("Pending", "Pending", f"{NOT_STARTED.message}: {obstacle.message}")


def _image_fault(waiting: Waiting) -> str:
    return _BACK_OFF.sub("", waiting.message) or waiting.message or waiting.reason


def _config_fault(message: str) -> Phase:
    if "secret" in message.lower():
        return phases.waits("SecretNotFound", f"create the Secret, or add the key to it: {message}")
    return phases.waits("PodRefused", f"the node cannot make the trainer's container: {message}")


def _scheduling_fault(message: str) -> Phase:
    if claim := re.search(r'persistentvolumeclaim "([^"]+)" not found', message):
        text = f"create the PersistentVolumeClaim {claim[1]} in the run's namespace, or name another in the spec"
        return phases.waits("VolumeNotFound", text)
    return phases.waits("Unschedulable", f"no node can take the pod: {message}")
