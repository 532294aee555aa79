"""Decide what to do about one run: from what the world shows to its status and the actions. Pure."""

from dataclasses import dataclass

from whisper_finetune_api.v1alpha1 import WhisperFineTuneStatus
from whisper_finetune_operator.actions import Action
from whisper_finetune_operator.runtimes import Runtimes
from whisper_finetune_operator.world import World


@dataclass(frozen=True)
class Decision:
    """The status to show, and what to do."""

    status: WhisperFineTuneStatus
    #: Whether the status differs from the run's own: only then is it written, and before any action.
    changed: bool
    actions: tuple[Action, ...] = ()
    #: Look again after this time although nothing may have changed by then.
    recheck_seconds: float | None = None


def decide(world: World, runtimes: Runtimes) -> Decision:
    """Return what is to be done about the run; the same world and status give the same decision."""
    raise NotImplementedError
