"""What the runs of a disturbed cluster are like: how their trainers end, and what each run deserves for that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.clusters.simulated_nodes import SIMULATION, quoted, succeeding_pods
from e2e.simulation import RESULT
from whisper_finetune_api.causes import EXIT_DATA
from whisper_finetune_api.run import TrainingResult

PARTITIONS = 6
_REFUSAL = TrainingResult(reason="DatasetInvalid", message="no clip has a text")
_CRASH = TrainingResult(message="the process ended without a word")
_SPEC = {
    "model": "openai/whisper-base",
    "language": "it",
    "dataset": {"source": "s3://speech/it"},
    "output": {"uri": "s3://speech/runs"},
    "retries": 2,
}


@dataclass(frozen=True)
class Story:
    """One kind of run. Its pods are known by their names, which begin as the run's does."""

    prefix: str
    #: Of a hundred runs so many are of this kind.
    share: int
    exit_code: int
    ending: TrainingResult
    #: The state and the reason at the end.
    deserved: tuple[str, str]
    fields: Mapping[str, Any]

    def to_object(self, namespace: str, number: int) -> dict[str, Any]:
        """Return the object that a user applies."""
        return {
            "apiVersion": "whisperfinetune.dev/v1alpha1",
            "kind": "WhisperFineTune",
            "metadata": {"name": f"{self.prefix}-{number:05d}", "namespace": namespace},
            "spec": {**_SPEC, **self.fields},
        }


_ON_PARTITION = {"runtime": "pool", "ipus": 4, "model": "openai/whisper-small"}
STORIES = (
    Story("good", 60, 0, RESULT, ("Succeeded", "Succeeded"), {}),
    Story("pool", 20, 0, RESULT, ("Succeeded", "Succeeded"), _ON_PARTITION),
    Story("refused", 10, EXIT_DATA, _REFUSAL, ("Failed", "DatasetInvalid"), {}),
    Story("crashing", 10, 1, _CRASH, ("Failed", "RetriesExhausted"), {}),
)


def story_of(name: str) -> Story:
    """Return the story of a run or a pod by its name."""
    return next(story for story in STORIES if name.startswith(f"{story.prefix}-"))


def story_number(number: int) -> Story:
    """Return the story of the run of that number: each hundred runs have all stories in their shares."""
    place = number * 37 % 100
    for story in STORIES:
        if place < story.share:
            return story
        place -= story.share
    raise AssertionError("the shares come to less than a hundred")


def runtimes() -> dict[str, Any]:
    """Return the admin's file: pods on simulated nodes, and a pool of partitions."""
    where = {
        "image": "localhost/none:1",
        "nodeSelector": {"type": "kwok"},
        "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
    }
    pool = {"apiHost": "10.5.1.1", "pool": [{"id": f"p{index}", "ipus": 4} for index in range(PARTITIONS)]}
    return {
        "defaultRuntime": "simulated",
        "runtimes": [
            {"name": "simulated", "accelerator": "cpu", **where},
            {"name": "pool", "accelerator": "ipu", "partitions": pool, **where},
        ],
    }


def pod_stages() -> str:
    """Return kwok's stages: a pod begins after a moment, works for some seconds, and ends as its story says."""
    begins, _, goes = succeeding_pods("").split("\n---\n")
    begins = _delayed(begins, 100, 900)
    return "\n---\n".join([begins, *(_ending(story) for story in STORIES), goes])


def _ending(story: Story) -> str:
    """Return the stage in which a pod of a story ends."""
    message = story.ending.model_dump_json(by_alias=True, exclude_none=True)
    template = (SIMULATION / "pod-stages.yaml").read_text(encoding="utf-8").split("\n---\n")[1]
    done = story.exit_code == 0
    changes = {
        "name: pod-succeeds": f"name: pod-ends-{story.prefix}",
        "phase: Succeeded": f"phase: {'Succeeded' if done else 'Failed'}",
        "exitCode: 0": f"exitCode: {story.exit_code}",
        "reason: Completed": f"reason: {'Completed' if done else 'Error'}",
        "message: TERMINATION_MESSAGE": f"message: {quoted(message)}",
        "      values: [Running]\n": "      values: [Running]\n" + _of_story(story),
    }
    for old, new in changes.items():
        assert old in template, old
        template = template.replace(old, new)
    return template.replace(
        "durationMilliseconds: 1000", "durationMilliseconds: 1000\n    jitterDurationMilliseconds: 9000"
    )


def _of_story(story: Story) -> str:
    return f"    - key: '.metadata.name | split(\"-\")[0]'\n      operator: In\n      values: [{story.prefix}]\n"


def _delayed(stage: str, least_milliseconds: int, most_milliseconds: int) -> str:
    delay = f"durationMilliseconds: {least_milliseconds}\n    jitterDurationMilliseconds: {most_milliseconds}"
    return stage.replace("  next:\n", f"  delay:\n    {delay}\n  next:\n", 1)
