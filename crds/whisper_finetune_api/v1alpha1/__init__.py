"""The WhisperFineTune API, version v1alpha1: what a user writes (spec) and what the operator reports (status)."""

from whisper_finetune_api.v1alpha1.dataset import Dataset, EvaluationSet
from whisper_finetune_api.v1alpha1.rules import WhisperFineTuneSpec
from whisper_finetune_api.v1alpha1.scores import ClipSubset, EvaluationScores, Metric, Result, WordErrorRate
from whisper_finetune_api.v1alpha1.spec import Output, SecretReference
from whisper_finetune_api.v1alpha1.status import (
    Attempts,
    Checkpoint,
    Condition,
    DataSummary,
    Model,
    PartitionBackOff,
    Progress,
    RanOn,
    WhisperFineTuneStatus,
)
from whisper_finetune_api.v1alpha1.training import UNPACKED, IpuConfig, Training

GROUP = "whisperfinetune.dev"
VERSION = "v1alpha1"
KIND = "WhisperFineTune"
PLURAL = "whisperfinetunes"

#: Labels of every object of a run: the run's UID, its name, and who made the object.
UID_LABEL = f"{GROUP}/run-uid"
NAME_LABEL = f"{GROUP}/run-name"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "whisper-finetune-operator"

__all__ = [
    "GROUP",
    "KIND",
    "MANAGED_BY",
    "MANAGED_BY_LABEL",
    "NAME_LABEL",
    "PLURAL",
    "UID_LABEL",
    "UNPACKED",
    "VERSION",
    "Attempts",
    "Checkpoint",
    "ClipSubset",
    "Condition",
    "DataSummary",
    "Dataset",
    "EvaluationScores",
    "EvaluationSet",
    "IpuConfig",
    "Metric",
    "Model",
    "Output",
    "PartitionBackOff",
    "Progress",
    "RanOn",
    "Result",
    "SecretReference",
    "Training",
    "WhisperFineTuneSpec",
    "WhisperFineTuneStatus",
    "WordErrorRate",
]
