"""What a decision may ask for. Each action names the UID of what it acts on: it cannot hit a successor."""

from dataclasses import dataclass

from whisper_finetune_operator.world import KubernetesObject


@dataclass(frozen=True)
class CreateWorkload:
    """Create the Job as it stands here; that its name is taken (409) is an answer: look again."""

    manifest: KubernetesObject


@dataclass(frozen=True)
class DeleteWorkload:
    """Delete the Job and its pods, after the status that carries the attempts is written."""

    name: str
    uid: str
    reason: str


@dataclass(frozen=True)
class EndWorkload:
    """Set the Job's activeDeadlineSeconds to 1: the Job controller ends its pod, and pod and log stay to be read."""

    name: str
    uid: str


@dataclass(frozen=True)
class KeepFor:
    """Set ttlSecondsAfterFinished on a Job whose result is in the status."""

    name: str
    uid: str
    seconds: int


@dataclass(frozen=True)
class LookForRefusal:
    """Read the Job's FailedCreate events and, where there is one, decide again with `world.refusal` before acting."""

    name: str
    uid: str


Action = CreateWorkload | DeleteWorkload | EndWorkload | KeepFor | LookForRefusal
