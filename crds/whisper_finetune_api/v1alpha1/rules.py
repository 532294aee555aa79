"""Rules that no single field can say: each in CEL for the API server and in Python for a spec that never meets one."""

from dataclasses import dataclass
from typing import Callable, List, Optional

from pydantic import ConfigDict, model_validator
from pydantic.config import JsonDict, JsonValue

from whisper_finetune_api.v1alpha1.api_model import cel_rule
from whisper_finetune_api.v1alpha1.spec import SpecFields, Training

#: The fields that may change after creation; every other one is compared, its presence too.
MUTABLE_FIELDS = ("suspend", "retries", "activeDeadlineSeconds", "ttlSecondsAfterFinished")
#: Always there, because required or defaulted.
PRESENT_FIELDS = ("model", "language", "task", "dataset", "training", "output")
OPTIONAL_FIELDS = ("modelRevision", "ipus", "runtime", "ipuConfig", "secretRefs")
#: Leaves room for what Kubernetes appends to the names of a run's objects.
NAME_MAX_LENGTH = 52


@dataclass(frozen=True)
class SpecRule:
    """One rule over several fields of the spec."""

    cel: str
    message: str
    holds: Callable[[SpecFields], bool]


def _not_above_steps(field: str, value: Callable[[Training], Optional[int]]) -> SpecRule:
    path = f"self.training.{field}"
    return SpecRule(
        f"!has({path}) || {path} <= self.training.steps",
        f"training.{field} must not be above training.steps",
        lambda spec: (value(spec.training) or 0) <= spec.training.steps,
    )


RULES = (
    SpecRule(
        "!has(self.dataset.evalSplit) || self.dataset.evalSplit != self.dataset.trainSplit",
        "dataset.evalSplit must differ from dataset.trainSplit: a model is not measured on what it was trained on",
        lambda spec: spec.dataset.eval_split != spec.dataset.train_split,
    ),
    SpecRule(
        "!has(self.training.patience) || has(self.training.evalEverySteps)",
        "training.patience needs training.evalEverySteps",
        lambda spec: spec.training.patience is None or spec.training.eval_every_steps is not None,
    ),
    _not_above_steps("evalEverySteps", lambda training: training.eval_every_steps),
    _not_above_steps("saveEverySteps", lambda training: training.save_every_steps),
    SpecRule(
        "double(self.training.learningRate) > 0.0",
        "training.learningRate must be above zero",
        lambda spec: float(spec.training.learning_rate) > 0,
    ),
    SpecRule(
        "!self.model.endsWith('.en') || (self.language in ['en', 'english'] && self.task == 'transcribe')",
        "model is English-only (.en): language must be en and task transcribe, or take the multilingual model",
        lambda spec: (
            not spec.model.endswith(".en") or (spec.language in ("en", "english") and spec.task == "transcribe")
        ),
    ),
    SpecRule(
        "!has(self.output.publish) || self.output.uri.startsWith('hf://')",
        "output.publish is for an output.uri of hf://: everywhere else both model and report are written",
        lambda spec: spec.output.publish is None or spec.output.uri.startswith("hf://"),
    ),
    SpecRule(
        "!has(self.ipuConfig) || has(self.ipus)",
        "ipuConfig needs ipus: its values hold for one partition size",
        lambda spec: spec.ipu_config is None or spec.ipus is not None,
    ),
)


def _immutable(field: str) -> JsonDict:
    same = f"self.{field} == oldSelf.{field}"
    if field in OPTIONAL_FIELDS:
        same = f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || {same})"
    return cel_rule(same, f"{field} cannot change after creation; make a new WhisperFineTune")


SPEC_RULES: List[JsonValue] = [
    *[_immutable(field) for field in PRESENT_FIELDS + OPTIONAL_FIELDS],
    *[cel_rule(spec_rule.cel, spec_rule.message) for spec_rule in RULES],
]
NAME_RULE = cel_rule(
    f"self.metadata.name.size() <= {NAME_MAX_LENGTH}", f"metadata.name must have at most {NAME_MAX_LENGTH} characters"
)


class WhisperFineTuneSpec(SpecFields):
    """The fine-tuning run to make. Only suspend, retries, the deadline and the TTL may change after creation."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-validations": SPEC_RULES})

    @model_validator(mode="after")
    def _keep_rules(self) -> "WhisperFineTuneSpec":
        broken = [spec_rule.message for spec_rule in RULES if not spec_rule.holds(self)]
        if broken:
            raise ValueError("; ".join(broken))
        return self
