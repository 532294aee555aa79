"""Every fault of a run that the operator or the trainer must name: what is wrong, and what the status says then."""

from typing import Any, NamedTuple

from e2e.runs import Run, condition, succeeded


class Fault(NamedTuple):
    """Changes to a tiny run, and the state, reason and part of the message that they lead to."""

    changes: dict[str, Any]
    reason: str
    says: str
    pods: int = 1
    """How many pods the run may have in all."""


#: Faults that end the run: each kind of end, and what only a pod has.
FINAL: dict[str, Fault] = {
    "language-of-no-model": Fault(
        {"language": "yue", "dataset.source": "pvc://speech/cantonese"}, "ConfigInvalid", "<|yue|>"
    ),
    "no-model": Fault({"model": "pvc://speech/models/nowhere"}, "ModelNotFound", "pvc://speech/models/nowhere"),
    "no-dataset": Fault({"dataset.source": "pvc://speech/nowhere"}, "DatasetNotFound", "pvc://speech/nowhere"),
    "unreadable-audio": Fault(
        {"dataset.source": "pvc://speech/unreadable-audio"}, "DatasetInvalid", "unreadable-audio-0.wav"
    ),
    "diverged": Fault(
        {"training.learningRate": "1e30", "training.warmupFraction": "0.0"}, "TrainingDiverged", "learningRate"
    ),
    "locked-output": Fault({"output.uri": "pvc://locked/runs"}, "OutputNotWritable", "pvc://locked/runs"),
    "full-output": Fault({"output.uri": "pvc://full/runs"}, "OutputNotWritable", "pvc://full/runs"),
    "out-of-memory": Fault({"runtime": "tight"}, "OutOfMemory", "memory", pods=2),
    "ipus-of-a-cpu": Fault({"runtime": "cpu", "ipus": 4}, "InvalidSpec", "ipus", pods=0),
}

#: Faults that end the run in the same ways, so that a trainer without a pod is enough (trainer/test_faulty_runs.py).
FINAL_OF_TRAINER: dict[str, Fault] = {
    "texts-of-another-script": Fault({"language": "ru"}, "DatasetInvalid", "Latin letters"),
    "english-only": Fault({"model": "pvc://speech/models/english-only"}, "ConfigInvalid", "nglish"),
    "empty-model": Fault({"model": "pvc://speech/models/nothing"}, "ModelNotFound", "pvc://speech/models/nothing"),
    "no-split": Fault({"dataset.evalSplit": "test"}, "DatasetNotFound", "test"),
    "empty-dataset": Fault({"dataset.source": "pvc://speech/empty"}, "DatasetInvalid", "pvc://speech/empty"),
    "broken-json": Fault({"dataset.source": "pvc://speech/broken-json"}, "DatasetInvalid", "line 25"),
    "missing-audio": Fault({"dataset.source": "pvc://speech/missing-audio"}, "DatasetInvalid", "missing-audio-0.wav"),
    "empty-text": Fault({"dataset.source": "pvc://speech/empty-text"}, "DatasetInvalid", "12"),
    "long-clips": Fault({"dataset.source": "pvc://speech/long-clips"}, "DatasetInvalid", "maxClipSeconds is 30"),
    "long-labels": Fault({"dataset.source": "pvc://speech/long-labels"}, "DatasetInvalid", "token"),
}

#: Faults that keep the run waiting until somebody mends them.
WAITING: dict[str, Fault] = {
    "no-runtime": Fault({"runtime": "elsewhere"}, "RuntimeNotFound", "elsewhere", pods=0),
    "no-image": Fault({"runtime": "missing-image"}, "ImagePullFailed", "image"),
    "no-node": Fault({"runtime": "nowhere"}, "Unschedulable", "node"),
    "no-claim": Fault({"output.uri": "pvc://later/runs"}, "VolumeNotFound", "later"),
    "no-secret": Fault({"secretRefs": [{"name": "later", "keys": ["HF_TOKEN"]}]}, "SecretNotFound", "later"),
}

#: Objects that the API server itself refuses.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown-language": ({"language": "klingon"}, "klingon"),
    "english-only-by-name": ({"model": "openai/whisper-tiny.en", "language": "it"}, "English-only"),
    "clip-limit": ({"dataset.maxClipSeconds": 31}, "less than or equal to 30"),
}


def assert_named(run: Run, fault: Fault) -> None:
    """The reason and a message for people: one line that names what is wrong, and is no traceback."""
    said = succeeded(run)
    assert said["reason"] == fault.reason, said
    assert fault.says in said["message"], said
    assert "\n" not in said["message"], said
    assert "Traceback" not in said["message"], said
    mirror = condition(run, "Stalled" if said["status"] == "False" else "Reconciling")
    assert (mirror["reason"], mirror["message"]) == (said["reason"], said["message"]), run["status"]
