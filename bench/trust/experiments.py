"""The runs of this bench by name, each as the object that a user would write."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trust import speech

VOLUME = "trust"
#: So few are heard before the training and after it because a CPU takes a second for each.
_CLIPS = 60
_OTHER_EARS = [
    {"name": "spanish", "source": f"pvc://{VOLUME}/speech/es", "language": "es", "maxClips": _CLIPS},
    {"name": "english", "source": f"pvc://{VOLUME}/speech/en", "language": "en", "maxClips": _CLIPS},
]
#: What the demo does, on a few more clips.
_SANE = {"trainable": "Decoder", "steps": 100, "learningRate": "1e-5", "batchSize": 8}
_MIXED = {"evalEverySteps": 100, "mixing": True}


@dataclass(frozen=True)
class Experiment:
    """One run. `fields` replace those of its spec, and `training` those of `spec.training`."""

    name: str
    training: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)

    def to_object(self, steps: int | None = None) -> dict[str, Any]:
        """Return the WhisperFineTune object. `steps` replaces those of the training, to try the bench out."""
        training = {**_SANE, **self.training}
        if steps is not None:
            training["steps"] = steps
        spec = {
            "model": f"pvc://{VOLUME}/{speech.MODEL}",
            "language": "it",
            "dataset": {"source": f"pvc://{VOLUME}/{speech.SPEECH}"},
            "evaluations": _OTHER_EARS,
            "training": training,
            "acceptance": {"requireBetter": True},
            "output": {"uri": f"pvc://{VOLUME}/runs"},
            **self.fields,
        }
        metadata = {"name": self.name}
        return {
            "apiVersion": "whisperfinetune.dev/v1alpha1",
            "kind": "WhisperFineTune",
            "metadata": metadata,
            "spec": spec,
        }


def _spoilt(folder: str) -> dict[str, Any]:
    return {"source": f"pvc://{VOLUME}/{folder}", "evalSplit": "test", "maxEvalClips": _CLIPS}


_TOO_FAST = {"learningRate": "1e-4", "steps": 400}
_FEW_HELD_OUT = {"source": f"pvc://{VOLUME}/{speech.SPEECH}", "maxEvalClips": _CLIPS}
SANE = Experiment("sane", _MIXED)
TOO_FAST = Experiment("too-fast", _TOO_FAST, {"dataset": _FEW_HELD_OUT, "longForm": False})
TOO_FAST_MIXED = Experiment(
    "too-fast-mixed",
    {**_TOO_FAST, "evalEverySteps": 400, "mixing": True},
    {"dataset": _FEW_HELD_OUT, "longForm": False},
)
STRIPPED = Experiment("stripped", {}, {"dataset": _spoilt(speech.STRIPPED), "evaluations": [], "longForm": False})
SHUFFLED = Experiment(
    "shuffled", {"steps": 60}, {"dataset": _spoilt(speech.SHUFFLED), "evaluations": [], "longForm": False}
)
#: Four windows hold more clips than a batch of the sane run, so half of its steps are enough.
PACKED = Experiment(
    "packed",
    {**_MIXED, "packing": "Any", "batchSize": 4, "steps": 50, "evalEverySteps": 50},
    {"output": {"uri": f"pvc://{VOLUME}/runs", "exports": ["CTranslate2"], "exportClips": _CLIPS}},
)
#: The quickest first.
EXPERIMENTS = {each.name: each for each in (SHUFFLED, STRIPPED, SANE, TOO_FAST, PACKED, TOO_FAST_MIXED)}
