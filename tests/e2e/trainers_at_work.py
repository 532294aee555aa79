"""Prove that no two trainers of one run are at work, by the API server's pods and by the host's own processes."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kubernetes import client
from pydantic import ValidationError

from e2e.following import following
from whisper_finetune_api import v1alpha1
from whisper_finetune_api.run import CONFIG_ENV, TrainerConfig

SECONDS_BETWEEN_SAMPLES = 0.1
TRAINER_MODULE = b"whisper_finetune_trainer"


@dataclass(frozen=True)
class TrainerProcess:
    """One process of a trainer as the host sees it."""

    pid: int
    run_uid: str
    container: str
    """Its PID namespace: a trainer's own child processes share it."""


def trainer_processes() -> list[TrainerProcess]:
    """Every trainer that runs on this host; none where the cluster's nodes are other machines."""
    found = (trainer_process(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [process for process in found if process]


def trainer_process(pid: int) -> TrainerProcess | None:
    try:
        if TRAINER_MODULE not in Path(f"/proc/{pid}/cmdline").read_bytes():
            return None
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
        namespace = str(Path(f"/proc/{pid}/ns/pid").readlink())
    except (FileNotFoundError, ProcessLookupError):
        return None  # it has just ended
    configs = [entry.partition("=")[2] for entry in environment if entry.startswith(f"{CONFIG_ENV}=")]
    uid = uid_in(configs[0]) if configs else None
    return TrainerProcess(pid, uid, namespace) if uid else None


def uid_in(config: str) -> str | None:
    """Return the run's UID; None for a trainer of another test, which is given no valid configuration on purpose."""
    try:
        return TrainerConfig.model_validate_json(config).uid
    except ValidationError:
        return None


@dataclass
class TrainersAtWork:
    """What was seen: the most trainers of each run at one moment, and its pods in all."""

    most_pods: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    most_processes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    pods: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    at_work: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def note_pod(self, kind: str, pod: client.V1Pod) -> None:
        run, uid = pod.metadata.labels[v1alpha1.UID_LABEL], pod.metadata.uid
        self.pods[run].add(uid)
        if kind != "DELETED" and is_at_work(pod):
            self.at_work[run].add(uid)
        else:
            self.at_work[run].discard(uid)
        self.most_pods[run] = max(self.most_pods[run], len(self.at_work[run]))

    def note_processes(self, processes: list[TrainerProcess]) -> None:
        containers: dict[str, set[str]] = defaultdict(set)
        for process in processes:
            containers[process.run_uid].add(process.container)
        for run, there in containers.items():
            self.most_processes[run] = max(self.most_processes[run], len(there))

    def assert_never_two(self, uid: str) -> None:
        assert self.most_pods[uid] == 1, f"{self.most_pods[uid]} pods of run {uid} ran at one moment"
        assert self.most_processes[uid] <= 1, f"{self.most_processes[uid]} trainers of run {uid} at one moment"


def is_at_work(pod: client.V1Pod) -> bool:
    return any(container.state.running for container in pod.status.container_statuses or [])


@contextmanager
def watching(api: client.ApiClient, namespace: str) -> Iterator[TrainersAtWork]:
    """Watch all runs' pods of a namespace, and the host's processes, for as long as the block lasts."""
    seen, stop, problems = TrainersAtWork(), threading.Event(), list[Exception]()
    sampling = threading.Thread(target=sample_processes, args=(seen, stop, problems))
    sampling.start()
    list_pods = client.CoreV1Api(api).list_namespaced_pod
    try:
        with following(list_pods, namespace, v1alpha1.UID_LABEL, seen.note_pod):
            yield seen
    finally:
        stop.set()
        sampling.join()
    if problems:
        raise problems[0]


def sample_processes(seen: TrainersAtWork, stop: threading.Event, problems: list[Exception]) -> None:
    try:
        while not stop.wait(SECONDS_BETWEEN_SAMPLES):
            seen.note_processes(trainer_processes())
    except Exception as problem:  # noqa: BLE001 -- it is raised again in the thread that waits
        problems.append(problem)
