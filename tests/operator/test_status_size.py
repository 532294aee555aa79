"""The whole status of the richest run stays small: each write of it goes to the API server and to every watch."""

import json
from typing import Any, get_args

from run_objects import DONE, SHA256, UID, complete, ended, job
from run_scenarios import CREATED, JOB, TRAINING, Moment, tell
from whisper_finetune_api.run import TERMINATION_MESSAGE_MAX_BYTES, TrainingResult
from whisper_finetune_api.v1alpha1.exports import ExportName
from whisper_finetune_api.v1alpha1.scores import MOST_EVALUATIONS
from whisper_finetune_trainer.entrypoints import ending

MOST_BYTES = 20_000
INTERVAL = {"differenceLow": "-99999.99", "differenceHigh": "-99999.99"}
FIGURES = {
    **dict.fromkeys(("score", "wer", "normalizedWer", "cer", "scoreWithLoops"), "99999.99"),
    "cutClips": 10**7,
    "loopedClips": 10**7,
}
SUBSET = {"clips": 10**7, "baseline": "99999.99", "result": "99999.99", **INTERVAL}


def evaluation(index: int) -> dict[str, Any]:
    return {
        "name": f"{'n' * 31}{index}",
        "verdict": "NotShown",
        "clips": 10_000,
        "copies": 10_000,
        "metric": "cer",
        "language": "portuguese",
        "baseline": "99999.99",
        "result": "99999.99",
        **INTERVAL,
        "drawn": {"unit": "Recordings", "units": 10_000},
        "speakers": 3,
    }


def exported(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "path": f"exports/{name.lower()}",
        "sha256": SHA256,
        "bytes": 10**15,
        "clips": 10**7,
        "score": "99999.99",
        "modelScore": "99999.99",
        "speed": "999999.99",
        "refused": "r" * 256,
    }


JOINED = {
    "recordings": 10**7,
    "seconds": 10**7,
    "boundaries": 10**7,
    "baselineFound": 10**7,
    "resultFound": 10**7,
    "baselineSeconds": "9999.99",
    "resultSeconds": "9999.99",
}


def richest(*, checkpoints: int, evaluations: int) -> dict[str, Any]:
    """Return last words in which everything that a run can have is there, and as long as it may be."""
    return {
        **DONE,
        "uid": UID,
        "ranOn": {"hardware": "h" * 256, "software": "s" * 256, "precision": "Half"},
        "validation": {"clips": 500, "baseline": "99999.99", "best": "99999.99", "step": 10**6},
        "baseline": FIGURES,
        "mixing": {"factor": "0.75", "checkpoints": 10, "score": "99999.99"},
        "evaluations": [
            {**evaluation(index), **({} if index else {"recordings": JOINED})} for index in range(evaluations)
        ],
        "checkpoints": [
            {
                "step": step,
                "path": f"checkpoints/checkpoint-{step}",
                "score": "99999.99",
                "wer": "99999.99",
                "part": "Validation",
                "sha256": SHA256,
            }
            for step in range(10**6, 10**6 + checkpoints)
        ],
        "result": {
            **FIGURES,
            **INTERVAL,
            "unseenTexts": SUBSET,
            "withoutLoops": SUBSET,
            "drawn": {"unit": "Speakers", "units": 10**7},
            "speakers": 3,
        },
        "exports": [exported(name) for name in get_args(ExportName)],
        "verdict": "NotShown",
        "acceptance": {"accepted": False, "reason": "MayBeWorse", "message": "m" * 1024},
        "message": "m" * 1024,
    }


def test_the_richest_status_is_below_20_kilobytes() -> None:
    """It is told by several reports together. One alone has to fit a termination message."""
    telling = TrainingResult.model_validate(richest(checkpoints=10, evaluations=MOST_EVALUATIONS))
    under_way = Moment(80, job(), TRAINING.pods, telling)
    told = TrainingResult.model_validate_json(ending.termination_message(telling))
    assert len(ending.termination_message(telling)) <= TERMINATION_MESSAGE_MAX_BYTES
    done = Moment(100, job(complete(100)), (ended(2, 5, 99, 0, told.to_json_object()),))
    for moments in ((CREATED, JOB, under_way), (CREATED, JOB, under_way, done)):
        status = tell(moments)[-1][1].status.to_json_object()
        assert len(json.dumps(status).encode()) < MOST_BYTES
        assert status["evaluations"]
