"""Decide what to do about one run: from what the world shows to its status and the actions. Pure."""

from dataclasses import dataclass

from whisper_finetune_api.v1alpha1 import WhisperFineTuneStatus
from whisper_finetune_operator.actions import Action
from whisper_finetune_operator.runtimes import Runtimes
from whisper_finetune_operator.world import World


@dataclass(frozen=True)
class Decision:
    """The status to show (written only where it differs, and before any action), and what to do."""

    status: WhisperFineTuneStatus
    actions: tuple[Action, ...] = ()
    #: Look again after this time although nothing may have changed by then.
    recheck_seconds: float | None = None


def decide(world: World, runtimes: Runtimes) -> Decision:
    """Return what is to be done about the run; the same world and status give the same decision."""
    raise NotImplementedError
