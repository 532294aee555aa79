"""WhisperFineTune objects that must be accepted or refused, in one table for the API server and for the types."""

from __future__ import annotations  # it is read by Python 3.8 too

import copy
from typing import Any, NamedTuple

MINIMAL: dict[str, Any] = {
    "model": "openai/whisper-base",
    "language": "it",
    "dataset": {"source": "pvc://speech/it"},
    "output": {"uri": "pvc://speech/runs"},
}


class Case(NamedTuple):
    """Fields to set (dotted path to value, None removes) and a part of the refusal's text, or None if accepted.

    Where an item of a list is there twice, a newer API server finds that before the rule does, and an older one after.
    """

    changes: dict[str, Any]
    server_says: str | None = None
    types_say: str | None = None
    older_server_says: str | None = None


def with_changes(spec: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a spec with dotted paths set, or removed where the value is None."""
    changed = copy.deepcopy(spec)
    for path, value in changes.items():
        *parents, last = path.split(".")
        node = changed
        for parent in parents:
            node = node.setdefault(parent, {})
        if value is None:
            node.pop(last)
        else:
            node[last] = value
    return changed


def _refused(changes: dict[str, Any], server_says: str, types_say: str | None = None) -> Case:
    return Case(changes, server_says, types_say or server_says)


def _twice(changes: dict[str, Any], server_says: str, rule_says: str) -> Case:
    return Case(changes, server_says, rule_says, rule_says)


_MATCH = "should match"
_NOT_MATCH = "in body should match"
_PARENT = "must not have . or .."

CASES: dict[str, Case] = {
    "minimal": Case({}),
    "language by name": Case({"language": "italian"}),
    "language by alias": Case({"language": "castilian"}),
    "translate": Case({"task": "translate"}),
    "model on a volume": Case({"model": "pvc://speech/model/whisper-base"}),
    "model on s3": Case({"model": "s3://models/whisper/base"}),
    "model revision": Case({"modelRevision": "main"}),
    "hub data set": Case({"dataset.source": "openslr/openslr", "dataset.config": "SLR69"}),
    "manifest file": Case({"dataset.source": "pvc://speech/it/manifest.jsonl"}),
    "repository as source": Case({"dataset.source": "hf://team/speech/data"}),
    "eval split": Case({"dataset.evalSplit": "test"}),
    "texts of a known data set as they are": Case({"dataset.textRules": "None"}),
    "eval fraction": Case({"dataset.evalFraction": "0.05"}),
    "clips held out one by one": Case({"dataset.holdOut": "Clips"}),
    "rooms held out": _refused({"dataset.holdOut": "Rooms"}, 'Unsupported value: "Rooms"', "'Speakers' or 'Clips'"),
    "validation split": Case({"dataset.validationSplit": "dev", "training.evalEverySteps": 10}),
    "validation fraction": Case({"dataset.validationFraction": "0.05", "training.evalEverySteps": 10}),
    "packed": Case({"training": {"packing": "Any", "timestampRate": "1.0", "promptRate": "0.25"}}),
    "packed by recording": Case({"training.packing": "Recording"}),
    "four IPUs": Case({"ipus": 4}),
    "sixty-four IPUs": Case({"ipus": 64}),
    "runtime": Case({"runtime": "pod16"}),
    "whole schedule": Case(
        {
            "training": {
                "steps": 100,
                "learningRate": "0.0001",
                "warmupFraction": "0.0",
                "batchSize": 8,
                "seed": 1,
                "evalEverySteps": 50,
                "saveEverySteps": 100,
                "maxLabelTokens": 64,
                "trainable": "Decoder",
                "precision": "Float",
                "patience": 2,
                "mixing": True,
                "resumeEverySeconds": 5,
            }
        }
    ),
    "IPU overrides": Case({"ipus": 4, "ipuConfig": {"layersPerIpu": [5, 7, 5, 7], "matmulProportion": ["0.2", "0.6"]}}),
    "bucket output": Case({"output.uri": "gs://bucket/runs"}),
    "hub output": Case({"output.uri": "hf://team/whisper-ca"}),
    "keep ten": Case({"output.keepCheckpoints": 10}),
    "float16 too": Case({"output.float16Copy": True}),
    "report on the Hub": Case({"output": {"uri": "hf://team/whisper-ca", "publish": "WithReport"}}),
    "model alone on the Hub": Case({"output": {"uri": "hf://team/whisper-ca", "publish": "ModelOnly"}}),
    "accepted where it is better": Case({"acceptance.requireBetter": True}),
    "accepted by single evaluations": Case(
        {
            "evaluations": [{"name": "telephone", "source": "pvc://speech/calls"}],
            "acceptance.evaluations": [
                {"name": "telephone", "maxWorsePoints": "1"},
                {"name": "held-out", "requireBetter": True},
                {"name": "long-form", "maxWorsePoints": "0.50"},
            ],
        }
    ),
    "accepted where it is not much worse": Case({"acceptance.maxWorsePoints": "0.5"}),
    "exports": Case(
        {
            "output.exports": ["CTranslate2", "CTranslate2Int8", "WhisperCpp", "WhisperCppQ5", "Onnx"],
            "output.exportClips": 50,
        }
    ),
    "eight evaluations": Case(
        {"evaluations": [{"name": f"set-{number}", "source": "google/fleurs"} for number in range(8)]}
    ),
    "an evaluation with everything": Case(
        {
            "evaluations": [
                {
                    "name": "radio",
                    "source": "pvc://speech/it",
                    "config": "es_419",
                    "revision": "main",
                    "split": "test",
                    "audioColumn": "sound",
                    "textColumn": "said",
                    "maxClips": 20,
                    "language": "es",
                    "task": "translate",
                }
            ]
        }
    ),
    "another configuration of the same data": Case(
        {
            "dataset": {"source": "google/fleurs", "config": "it_it", "validationSplit": "validation"},
            "evaluations": [
                {"name": "es", "source": "google/fleurs", "config": "es_419", "split": "train"},
                {"name": "own", "source": "google/fleurs", "config": "it_it", "split": "test"},
            ],
        }
    ),
    "an English-only model with English ears": Case(
        {
            "model": "openai/whisper-base.en",
            "language": "en",
            "evaluations": [{"name": "calls", "source": "pvc://a", "language": "en", "task": "transcribe"}],
        }
    ),
    "secret": Case({"secretRefs": [{"name": "hub", "keys": ["HF_TOKEN"]}]}),
    "suspended": Case({"suspend": True}),
    "no retries": Case({"retries": 0}),
    "deadline": Case({"activeDeadlineSeconds": 3600}),
    "kept for ever so short": Case({"ttlSecondsAfterFinished": 0}),
    "English-only model in English": Case({"model": "openai/whisper-base.en", "language": "en"}),
    "no model": _refused({"model": None}, "spec.model: Required value", "model\n  Field required"),
    "no language": _refused({"language": None}, "spec.language: Required value", "language\n  Field required"),
    "no data set": _refused({"dataset": None}, "spec.dataset: Required value", "dataset\n  Field required"),
    "no source": _refused({"dataset": {}}, "spec.dataset.source: Required", "source\n  Field required"),
    "no output": _refused({"output": None}, "spec.output: Required value", "output\n  Field required"),
    "unknown language": _refused(
        {"language": "klingon"}, 'Unsupported value: "klingon"', "not a language Whisper knows"
    ),
    "upper case language": _refused({"language": "IT"}, 'Unsupported value: "IT"', "not a language Whisper knows"),
    "unknown task": _refused({"task": "summarize"}, 'Unsupported value: "summarize"', "Input should be 'transcribe'"),
    "unknown field": _refused({"epochs": 3}, 'unknown field "spec.epochs"', "Extra inputs are not permitted"),
    "unknown training field": _refused(
        {"training.epochs": 3}, 'unknown field "spec.training.epochs"', "Extra inputs are not permitted"
    ),
    "empty model": _refused({"model": ""}, "spec.model", "at least 1 character"),
    "model by http": _refused({"model": "http://example.org/m"}, _NOT_MATCH, _MATCH),
    "model by file": _refused({"model": "file:///etc"}, _NOT_MATCH, _MATCH),
    "model upwards": _refused({"model": "pvc://speech/../other"}, _PARENT),
    "chained address": _refused({"dataset.source": "pvc://speech/a::s3://b"}, _NOT_MATCH, _MATCH),
    "source upwards": _refused({"dataset.source": "pvc://speech/a/../../b"}, _PARENT),
    "source with a blank": _refused({"dataset.source": "pvc://speech/a b"}, _NOT_MATCH, _MATCH),
    "claim in upper case": _refused({"dataset.source": "pvc://Speech/it"}, _NOT_MATCH, _MATCH),
    "output on the Hub by id": _refused({"output.uri": "team/whisper"}, _NOT_MATCH, _MATCH),
    "output upwards": _refused({"output.uri": "pvc://speech/runs/.."}, _PARENT),
    "three IPUs": _refused({"ipus": 3}, "Unsupported value: 3", "Input should be 1, 2, 4"),
    "IPUs as text": _refused({"ipus": "4"}, "must be of type integer", "Input should be 1, 2, 4"),
    "no IPUs": _refused({"ipus": 0}, "Unsupported value: 0", "Input should be 1, 2, 4"),
    "no steps": _refused({"training.steps": 0}, "greater than or equal to 1"),
    "too many steps": _refused({"training.steps": 1_000_001}, "less than or equal to 1000000"),
    "learning rate as a number": _refused({"training.learningRate": 0.1}, "must be of type string", "valid string"),
    "learning rate of zero": _refused({"training.learningRate": "0.0"}, "learningRate must be above zero"),
    "learning rate in words": _refused({"training.learningRate": "fast"}, _NOT_MATCH, _MATCH),
    "warm-up of all": _refused({"training.warmupFraction": "1.0"}, _NOT_MATCH, _MATCH),
    "nothing held out": _refused({"dataset.evalFraction": "0.00"}, _NOT_MATCH, _MATCH),
    "all held out": _refused({"dataset.evalFraction": "1"}, _NOT_MATCH, _MATCH),
    "text rules of one's own": _refused(
        {"dataset.textRules": "LowerCase"}, 'Unsupported value: "LowerCase"', "Input should be 'Known' or 'None'"
    ),
    "batch of none": _refused({"training.batchSize": 0}, "greater than or equal to 1"),
    "long labels": _refused({"training.maxLabelTokens": 449}, "less than or equal to 448"),
    "clips over the window": _refused({"dataset.maxClipSeconds": 31}, "less than or equal to 30"),
    "encoder alone": _refused({"training.trainable": "Encoder"}, 'Unsupported value: "Encoder"', "'All' or 'Decoder'"),
    "eight bits": _refused({"training.precision": "Int8"}, 'Unsupported value: "Int8"', "'Half' or 'Float'"),
    "patience without evaluations": _refused({"training.patience": 2}, "patience needs training.evalEverySteps"),
    "mixing without evaluations": _refused({"training.mixing": True}, "mixing needs training.evalEverySteps"),
    "evaluations beyond the end": _refused(
        {"training": {"steps": 10, "evalEverySteps": 11}}, "evalEverySteps must not be above training.steps"
    ),
    "checkpoints beyond the end": _refused(
        {"training": {"steps": 10, "saveEverySteps": 11}}, "saveEverySteps must not be above training.steps"
    ),
    "timestamps without packing": _refused(
        {"training.timestampRate": "0.5"}, "timestampRate and training.promptRate need training.packing"
    ),
    "prompts with a packing of None": _refused(
        {"training": {"packing": "None", "promptRate": "0.5"}}, "promptRate need training.packing"
    ),
    "packed by topic": _refused({"training.packing": "Topic"}, 'Unsupported value: "Topic"', "Input should be"),
    "measured on the train split": _refused({"dataset.evalSplit": "train"}, "evalSplit must differ"),
    "chosen on the train split": _refused({"dataset.validationSplit": "train"}, "validationSplit must differ"),
    "chosen on the clips of the result": _refused(
        {"dataset.evalSplit": "test", "dataset.validationSplit": "test"}, "validationSplit must differ"
    ),
    "no validation at all": _refused({"dataset.validationFraction": "0.0"}, _NOT_MATCH, _MATCH),
    "English-only model in Italian": _refused({"model": "openai/whisper-base.en"}, "model is English-only"),
    "English-only model translates": _refused(
        {"model": "openai/whisper-base.en", "language": "en", "task": "translate"}, "model is English-only"
    ),
    "overrides without a size": _refused({"ipuConfig": {"optimizerStateOffchip": True}}, "ipuConfig needs ipus"),
    "layer count below zero": _refused({"ipus": 4, "ipuConfig": {"layersPerIpu": [-1]}}, "greater than or equal to 0"),
    "secret key of nobody": _refused(
        {"secretRefs": [{"name": "hub", "keys": ["PATH"]}]}, 'Unsupported value: "PATH"', "Input should be 'HF_TOKEN'"
    ),
    "secret without keys": _refused(
        {"secretRefs": [{"name": "hub", "keys": []}]}, "at least 1 items", "at least 1 item"
    ),
    "retries below zero": _refused({"retries": -1}, "greater than or equal to 0"),
    "no deadline at all": _refused({"activeDeadlineSeconds": 0}, "greater than or equal to 1"),
    "publish on a volume": _refused({"output.publish": "ModelOnly"}, "output.publish is for an output.uri of hf://"),
    "publish of neither kind": _refused(
        {"output": {"uri": "hf://team/whisper-ca", "publish": "All"}}, "Unsupported value", "Input should be"
    ),
    "acceptance of anything": _refused({"acceptance.requireBetter": False}, "acceptance must ask for something"),
    "worse points as a number": _refused(
        {"acceptance.maxWorsePoints": 0.5}, 'must be of type string: "number"', "valid string"
    ),
    "acceptance of an evaluation that nobody measures": _refused(
        {
            "evaluations": [{"name": "telephone", "source": "pvc://speech/calls"}],
            "acceptance.evaluations": [{"name": "radio", "requireBetter": True}],
        },
        "acceptance.evaluations must name evaluations of spec.evaluations, or held-out, or long-form",
    ),
    "acceptance by long recordings that are left out": _refused(
        {"longForm": False, "acceptance.evaluations": [{"name": "long-form", "maxWorsePoints": "1"}]},
        "or long-form where longForm is not false",
    ),
    "acceptance of an evaluation without evaluations": _refused(
        {"acceptance.evaluations": [{"name": "radio", "requireBetter": True}]},
        "acceptance.evaluations must name evaluations of spec.evaluations",
    ),
    "acceptance of an evaluation in capitals": _refused(
        {
            "evaluations": [{"name": "telephone", "source": "pvc://speech/calls"}],
            "acceptance.evaluations": [{"name": "Telephone", "requireBetter": True}],
        },
        _NOT_MATCH,
        _MATCH,
    ),
    "acceptance by the texts as they are written": _refused(
        {"acceptance.evaluations": [{"name": "as-written", "requireBetter": True}]},
        "acceptance.evaluations must name evaluations of spec.evaluations",
    ),
    "acceptance that asks an evaluation for nothing": _refused(
        {"acceptance.evaluations": [{"name": "held-out"}]}, "acceptance.evaluations must ask for something of each"
    ),
    "acceptance by no evaluation": _refused({"acceptance.evaluations": []}, "acceptance must ask for something"),
    "acceptance of one evaluation twice": _twice(
        {
            "acceptance.evaluations": [
                {"name": "held-out", "requireBetter": True},
                {"name": "held-out", "maxWorsePoints": "1"},
            ]
        },
        'spec.acceptance.evaluations[1]: Duplicate value: {"name":"held-out"}',
        "acceptance.evaluations: two have one name",
    ),
    "points that only may be better": _refused({"acceptance.maxWorsePoints": "-1"}, _NOT_MATCH, _MATCH),
    "acceptance on the Hub": _refused(
        {"acceptance.requireBetter": True, "output.uri": "hf://team/whisper-ca"}, "acceptance is for an output.uri with"
    ),
    "export of no engine": _refused(
        {"output.exports": ["TensorFlow"]}, 'Unsupported value: "TensorFlow"', "Input should be 'CTranslate2'"
    ),
    "no exports": _refused({"output.exports": []}, "at least 1 items", "at least 1 item"),
    "clips for no exports": _refused({"output.exportClips": 5}, "output.exportClips needs output.exports"),
    "nine evaluations": _refused(
        {"evaluations": [{"name": f"set-{number}", "source": "pvc://a"} for number in range(9)]}, "at most 8 items"
    ),
    "evaluations of one name": _twice(
        {"evaluations": [{"name": "radio", "source": "pvc://a"}, {"name": "radio", "source": "pvc://b"}]},
        'Duplicate value: {"name":"radio"}',
        "evaluations: two have one name",
    ),
    **{
        f"an evaluation named {name}": _refused(
            {"evaluations": [{"name": name, "source": "pvc://a"}]}, "evaluations: the names held-out, validation, long"
        )
        for name in ("held-out", "validation", "long-form", "as-written")
    },
    "an evaluation in capitals": _refused(
        {"evaluations": [{"name": "Radio", "source": "pvc://a"}]}, _NOT_MATCH, _MATCH
    ),
    "an evaluation that leads upwards": _refused(
        {"evaluations": [{"name": "radio", "source": "pvc://speech/../it"}]}, _PARENT
    ),
    "an evaluation of too few clips": _refused(
        {"evaluations": [{"name": "radio", "source": "pvc://a", "maxClips": 19}]}, "greater than or equal to 20"
    ),
    "an evaluation on the train split": _refused(
        {"evaluations": [{"name": "radio", "source": "pvc://speech/it", "split": "train"}]},
        "evaluations must not name dataset.trainSplit or dataset.validationSplit",
    ),
    **{
        f"an evaluation on the train split of {source}, which is {data}": _refused(
            {
                "dataset": {"source": data},
                "evaluations": [{"name": "radio", "source": source, "split": "train", **fields}],
            },
            "evaluations must not name dataset.trainSplit or dataset.validationSplit",
        )
        for data, source, fields in (
            ("pvc://speech/it", "pvc://speech/it/", {}),
            ("pvc://speech/", "pvc://speech", {}),
            ("s3://speech/it/", "s3://speech/it", {}),
            ("google/fleurs", "Google/FLEURS", {"revision": "main"}),
            ("google/fleurs", "hf://google/fleurs", {}),
            ("hf://Google/fleurs/", "google/fleurs", {"config": "default"}),
        )
    },
    "an evaluation on what chooses": _refused(
        {
            "dataset.validationSplit": "dev",
            "evaluations": [{"name": "radio", "source": "pvc://speech/it", "split": "dev"}],
        },
        "evaluations must not name dataset.trainSplit or dataset.validationSplit",
    ),
    "an English-only model with Spanish ears": _refused(
        {
            "model": "openai/whisper-base.en",
            "language": "en",
            "evaluations": [{"name": "spanish", "source": "pvc://a", "language": "es"}],
        },
        "evaluations can have no other language",
    ),
    "no checkpoint kept": _refused({"output.keepCheckpoints": 0}, "greater than or equal to 1"),
    "runtime in upper case": _refused({"runtime": "POD16"}, _NOT_MATCH, _MATCH),
}
