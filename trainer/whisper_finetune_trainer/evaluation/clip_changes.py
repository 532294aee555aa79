"""Which held-out clips the training made better, and which worse. Pure."""

from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Sequence, Tuple

from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.evaluation import word_alignment
from whisper_finetune_trainer.evaluation.word_alignment import Alignment


@dataclass(frozen=True)
class ClipChange:
    """One held-out clip, and what was heard of its words before and after training."""

    clip: Clip
    before: Alignment
    after: Alignment

    @property
    def errors_before(self) -> int:
        """Wrong words before training."""
        return word_alignment.errors(self.before)

    @property
    def errors_after(self) -> int:
        """Wrong words after training."""
        return word_alignment.errors(self.after)

    @property
    def gain(self) -> int:
        """How many fewer words are wrong after training. It is negative where more are wrong."""
        return self.errors_before - self.errors_after


@dataclass(frozen=True)
class ClipChanges:
    """The clips that changed most, and counts of all clips. Clips whose reference has no word are left out."""

    gained: Tuple[ClipChange, ...]
    lost: Tuple[ClipChange, ...]
    better: int
    worse: int
    unchanged_right: int
    unchanged_wrong: int

    @property
    def total(self) -> int:
        """The number of all clips that were compared."""
        return self.better + self.worse + self.unchanged_right + self.unchanged_wrong

    def shown_in_turn(self) -> Tuple[ClipChange, ...]:
        """Return the clip that gained most, the one that lost most, the next of each, and so on."""
        pairs = zip_longest(self.gained, self.lost)
        return tuple(change for change in chain.from_iterable(pairs) if change is not None)


def compare_clips(
    clips: Sequence[Clip], before: Sequence[Alignment], after: Sequence[Alignment], shown: int = 8
) -> ClipChanges:
    """Return the changes of all clips, with the `shown` clips that gained most and the `shown` that lost most.

    The three sequences have one entry per clip, in the same order.
    """
    changes = [ClipChange(*parts) for parts in zip(clips, before, after) if _counts(*parts[1:])]
    ranked = sorted(changes, key=lambda change: (-change.gain, change.clip.seconds, change.clip.identifier))
    better = [change for change in ranked if change.gain > 0]
    worse = [change for change in reversed(ranked) if change.gain < 0]
    unchanged = [change for change in changes if change.gain == 0]
    right = sum(change.errors_after == 0 for change in unchanged)
    return ClipChanges(
        gained=tuple(better[:shown]),
        lost=tuple(worse[:shown]),
        better=len(better),
        worse=len(worse),
        unchanged_right=right,
        unchanged_wrong=len(unchanged) - right,
    )


def _counts(before: Alignment, after: Alignment) -> bool:
    return any(word.kind != "inserted" for word in (*before, *after))
