"""Rules that no single field can say: each in CEL for the API server and in Python for a spec that never meets one."""

from dataclasses import dataclass
from typing import Callable, List, Optional, Tuple

from pydantic import model_validator
from pydantic.config import JsonDict, JsonValue

from whisper_finetune_api.addresses import known_as
from whisper_finetune_api.v1alpha1.acceptance import HELD_OUT, LONG_FORM, Acceptance
from whisper_finetune_api.v1alpha1.api_model import cel_rule
from whisper_finetune_api.v1alpha1.dataset import TAKEN_EVALUATION_NAMES, EvaluationSet
from whisper_finetune_api.v1alpha1.spec import SpecFields
from whisper_finetune_api.v1alpha1.training import UNPACKED, Training

#: The fields that may change after creation; every other one is compared, its presence too.
MUTABLE_FIELDS = ("suspend", "retries", "activeDeadlineSeconds", "ttlSecondsAfterFinished")
#: Always there, because required or defaulted.
PRESENT_FIELDS = ("model", "language", "task", "dataset", "training", "output")
OPTIONAL_FIELDS = (
    "modelRevision",
    "evaluations",
    "longForm",
    "ipus",
    "runtime",
    "operatorClass",
    "ipuConfig",
    "acceptance",
    "secretRefs",
)
#: Leaves room for what Kubernetes appends to the names of a run's objects.
NAME_MAX_LENGTH = 52


@dataclass(frozen=True)
class SpecRule:
    """One rule over several fields of the spec. In CEL `self` is the part of the spec that it is about.

    A field costs the API server the more the more fields its object has, on writes of the status too. So a rule stands
    at the smallest part that has all its fields.
    """

    part: Tuple[str, ...]
    cel: str
    message: str
    holds: Callable[[SpecFields], bool]


def _not_above_steps(field: str, value: Callable[[Training], Optional[int]]) -> SpecRule:
    return SpecRule(
        ("training",),
        f"!has(self.{field}) || self.{field} <= self.steps",
        f"training.{field} must not be above training.steps",
        lambda spec: (value(spec.training) or 0) <= spec.training.steps,
    )


def _of_each(field: str, absent: str) -> str:
    """Return the CEL of an optional field of an evaluation, which is compared with that of the data set.

    `absent` is what it means where it is absent.
    """
    own, of_data = f"each.{field}", f"self.dataset.{field}"
    return f"(has({own}) ? {own} : '{absent}') == (has({of_data}) ? {of_data} : '{absent}')"


def _known_as(source: str) -> str:
    """Return the CEL of what `addresses.known_as` returns for an address, with a slash at its end."""
    whole = f"({source} + ({source}.endsWith('/') ? '' : '/'))"
    in_any_case = f"{whole}.replace('hf://', '').lowerAscii()"
    return f"({source}.contains('://') && !{source}.startsWith('hf://') ? {whole} : {in_any_case})"


#: What the Hub takes where an object names none.
_MAIN, _DEFAULT = "main", "default"


def _is_learned(found: EvaluationSet, spec: SpecFields) -> bool:
    """Return whether an evaluation is a split that the run is trained on or chosen by."""
    dataset = spec.dataset
    of_each, own = (
        (known_as(data.source), data.config or _DEFAULT, data.revision or _MAIN) for data in (found, dataset)
    )
    return of_each == own and found.split in (dataset.train_split, dataset.validation_split)


def _asked_of(spec: SpecFields) -> Acceptance:
    return spec.acceptance or Acceptance()


def _names_asked_about(spec: SpecFields) -> List[str]:
    return [each.name for each in _asked_of(spec).evaluations]


def _measured_names(spec: SpecFields) -> List[str]:
    long_form = [] if spec.long_form is False else [LONG_FORM]
    return [HELD_OUT, *long_form, *(each.name for each in spec.evaluations or ())]


RULES = (
    SpecRule(
        ("dataset",),
        "!has(self.evalSplit) || self.evalSplit != self.trainSplit",
        "dataset.evalSplit must differ from dataset.trainSplit: a model is not measured on what it was trained on",
        lambda spec: spec.dataset.eval_split != spec.dataset.train_split,
    ),
    SpecRule(
        ("dataset",),
        "!has(self.validationSplit) || (self.validationSplit != self.trainSplit && "
        "(!has(self.evalSplit) || self.validationSplit != self.evalSplit))",
        "dataset.validationSplit must differ from dataset.trainSplit and dataset.evalSplit: a model is not chosen by "
        "what it was trained on or is measured on",
        lambda spec: (
            spec.dataset.validation_split not in (spec.dataset.train_split, spec.dataset.eval_split)
            or spec.dataset.validation_split is None
        ),
    ),
    SpecRule(
        ("training",),
        "!has(self.patience) || has(self.evalEverySteps)",
        "training.patience needs training.evalEverySteps",
        lambda spec: spec.training.patience is None or spec.training.eval_every_steps is not None,
    ),
    SpecRule(
        ("training",),
        "!has(self.mixing) || !self.mixing || has(self.evalEverySteps)",
        "training.mixing needs training.evalEverySteps: the mixture is chosen by validation clips",
        lambda spec: not spec.training.mixing or spec.training.eval_every_steps is not None,
    ),
    _not_above_steps("evalEverySteps", lambda training: training.eval_every_steps),
    _not_above_steps("saveEverySteps", lambda training: training.save_every_steps),
    SpecRule(
        ("training",),
        "!(has(self.timestampRate) || has(self.promptRate)) || (has(self.packing) && self.packing != 'None')",
        "training.timestampRate and training.promptRate need training.packing: Recording or Any",
        lambda spec: (
            spec.training.packing not in UNPACKED
            or (spec.training.timestamp_rate is None and spec.training.prompt_rate is None)
        ),
    ),
    SpecRule(
        ("training", "learningRate"),
        "double(self) > 0.0",
        "training.learningRate must be above zero",
        lambda spec: float(spec.training.learning_rate) > 0,
    ),
    SpecRule(
        (),
        "!self.model.endsWith('.en') || (self.language in ['en', 'english'] && self.task == 'transcribe')",
        "model is English-only (.en): set language to en and task to transcribe, or take the multilingual model",
        lambda spec: (
            not spec.model.endswith(".en") or (spec.language in ("en", "english") and spec.task == "transcribe")
        ),
    ),
    SpecRule(
        (),
        "!has(self.evaluations) || !self.model.endsWith('.en') || self.evaluations.all(each, "
        "(!has(each.language) || each.language in ['en', 'english']) && "
        "(!has(each.task) || each.task == 'transcribe'))",
        "model is English-only (.en): evaluations can have no other language and no translations; take the "
        "multilingual model",
        lambda spec: (
            not spec.model.endswith(".en")
            or all(
                each.language in (None, "en", "english") and each.task in (None, "transcribe")
                for each in spec.evaluations or ()
            )
        ),
    ),
    SpecRule(
        (),
        f"!has(self.evaluations) || self.evaluations.all(each, "
        f"{_known_as('each.source')} != {_known_as('self.dataset.source')} || "
        f"!({_of_each('config', _DEFAULT)}) || !({_of_each('revision', _MAIN)}) || "
        "(each.split != self.dataset.trainSplit && "
        "(!has(self.dataset.validationSplit) || each.split != self.dataset.validationSplit)))",
        "evaluations must not name dataset.trainSplit or dataset.validationSplit of the run's own data: a model is not "
        "measured on what it was trained on or was chosen by",
        lambda spec: not any(_is_learned(each, spec) for each in spec.evaluations or ()),
    ),
    SpecRule(
        ("evaluations",),
        f"self.all(each, !(each.name in {list(TAKEN_EVALUATION_NAMES)}))",
        f"evaluations: the names {', '.join(TAKEN_EVALUATION_NAMES)} are taken by what every run measures; take others",
        lambda spec: not any(each.name in TAKEN_EVALUATION_NAMES for each in spec.evaluations or ()),
    ),
    SpecRule(
        ("evaluations",),
        "self.all(each, self.exists_one(other, other.name == each.name))",
        "evaluations: two have one name; give each a name of its own",
        lambda spec: len({each.name for each in spec.evaluations or ()}) == len(spec.evaluations or ()),
    ),
    SpecRule(
        ("output",),
        "!has(self.publish) || self.uri.startsWith('hf://')",
        "output.publish is for an output.uri of hf://: everywhere else both model and report are written",
        lambda spec: spec.output.publish is None or spec.output.uri.startswith("hf://"),
    ),
    SpecRule(
        ("acceptance",),
        "self.requireBetter || has(self.maxWorsePoints) || (has(self.evaluations) && self.evaluations.size() > 0)",
        "acceptance must ask for something: set requireBetter to true, or maxWorsePoints, or evaluations, or leave "
        "acceptance out",
        lambda spec: spec.acceptance is None or spec.acceptance.asks_for_something,
    ),
    SpecRule(
        ("acceptance", "evaluations"),
        "self.all(each, each.requireBetter || has(each.maxWorsePoints))",
        "acceptance.evaluations must ask for something of each: set requireBetter to true, or maxWorsePoints",
        lambda spec: all(each.asks_for_something for each in _asked_of(spec).evaluations),
    ),
    SpecRule(
        ("acceptance", "evaluations"),
        "self.all(each, self.exists_one(other, other.name == each.name))",
        "acceptance.evaluations: two have one name; ask for all of one evaluation in one place",
        lambda spec: len(set(_names_asked_about(spec))) == len(_names_asked_about(spec)),
    ),
    SpecRule(
        (),
        f"!has(self.acceptance) || !has(self.acceptance.evaluations) || self.acceptance.evaluations.all(each, "
        f"each.name == '{HELD_OUT}' || (each.name == '{LONG_FORM}' && (!has(self.longForm) || self.longForm)) || "
        "(has(self.evaluations) && self.evaluations.exists(other, other.name == each.name)))",
        f"acceptance.evaluations must name evaluations of spec.evaluations, or {HELD_OUT}, or {LONG_FORM} where "
        "longForm is not false: what is not measured is never accepted",
        lambda spec: {*_names_asked_about(spec)} <= {*_measured_names(spec)},
    ),
    SpecRule(
        (),
        "!has(self.acceptance) || !self.output.uri.startsWith('hf://')",
        "acceptance is for an output.uri with a folder for each run: a repository at hf:// has one model, and whoever "
        "reads it would get one that is not accepted; write to pvc://, s3://, gs:// or az://",
        lambda spec: spec.acceptance is None or not spec.output.uri.startswith("hf://"),
    ),
    SpecRule(
        ("output",),
        "!has(self.exportClips) || has(self.exports)",
        "output.exportClips needs output.exports",
        lambda spec: spec.output.export_clips is None or spec.output.exports is not None,
    ),
    SpecRule(
        (),
        "!has(self.ipuConfig) || has(self.ipus)",
        "ipuConfig needs ipus: its values hold for one partition size",
        lambda spec: spec.ipu_config is None or spec.ipus is not None,
    ),
)


def _is_same(field: str) -> str:
    same = f"self.spec.{field} == oldSelf.spec.{field}"
    if field in PRESENT_FIELDS:
        return same
    # `self.spec.?field` would be shorter, but the API server refuses it: it cannot tell what comparing it costs.
    return f"has(self.spec.{field}) == has(oldSelf.spec.{field}) && (!has(self.spec.{field}) || {same})"


def _immutability_rule() -> JsonDict:
    """Return the one rule of the whole object that compares its spec with what it was.

    Comparing the spec costs the API server more than all other rules together. A write that changes the status cannot
    change the spec, because the status is a subresource, so the rule looks at the status first.
    """
    same = {field: _is_same(field) for field in PRESENT_FIELDS + OPTIONAL_FIELDS}
    *others, last = same
    changed = "".join(f"!({same[field]}) ? '{field}' : " for field in others) + f"'{last}'"
    told = "cannot change after creation; make a new WhisperFineTune"
    return {
        **cel_rule(f"self.status != oldSelf.status || ({' && '.join(same.values())})", f"what defines the run {told}"),
        "messageExpression": f"({changed}) + ' {told}'",
        "fieldPath": ".spec",
    }


#: At the root of the object, where its name and both spec and status are in sight.
OBJECT_RULES: List[JsonValue] = [
    cel_rule(
        f"self.metadata.name.size() <= {NAME_MAX_LENGTH}",
        f"metadata.name must have at most {NAME_MAX_LENGTH} characters",
    ),
    _immutability_rule(),
]


class WhisperFineTuneSpec(SpecFields):
    """What to fine-tune, on what, into which folder. Only suspend, retries, deadline and TTL can change later."""

    @model_validator(mode="after")
    def _keep_rules(self) -> "WhisperFineTuneSpec":
        broken = [spec_rule.message for spec_rule in RULES if not spec_rule.holds(self)]
        if broken:
            raise ValueError("; ".join(broken))
        return self
