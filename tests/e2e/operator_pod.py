"""The operator in its pod: read its log, end it in several ways, scale it."""

from dataclasses import dataclass
from functools import cached_property

from kubernetes import client

from e2e.pod_processes import kill_process_of
from e2e.waiting import wait_until

REPLICAS = 2
NAMESPACE = "whisper-finetune"
DEPLOYMENT = "whisper-finetune-operator"
SELECTOR = "app.kubernetes.io/name=whisper-finetune-operator"
OPERATOR_MODULE = "whisper_finetune_operator"
LOG_LINES = 25
SECONDS_TO_START = 180


@dataclass(frozen=True)
class OperatorPod:
    api: client.ApiClient

    @cached_property
    def core(self) -> client.CoreV1Api:
        return client.CoreV1Api(self.api)

    def pods(self) -> list[client.V1Pod]:
        found: list[client.V1Pod] = self.core.list_namespaced_pod(NAMESPACE, label_selector=SELECTOR).items
        return found

    def log(self, lines: int = LOG_LINES) -> str:
        return "\n".join(self.log_of(pod, lines) for pod in self.pods())

    def log_of(self, pod: client.V1Pod, lines: int) -> str:
        try:
            text: str = self.core.read_namespaced_pod_log(pod.metadata.name, NAMESPACE, tail_lines=lines)
        except client.ApiException as refusal:
            return f"(no log of {pod.metadata.name}: {refusal.status} {refusal.reason})"
        return text

    def kill(self) -> None:
        """Delete its pods without any grace; the Deployment makes others."""
        for pod in self.pods():
            self.core.delete_namespaced_pod(pod.metadata.name, NAMESPACE, grace_period_seconds=0)

    def crash(self) -> None:
        """End its process at once, so that the kubelet starts its container anew."""
        for pod in self.pods():
            kill_process_of(pod, OPERATOR_MODULE)

    def scale(self, replicas: int) -> None:
        body = {"spec": {"replicas": replicas}}
        client.AppsV1Api(self.api).patch_namespaced_deployment_scale(DEPLOYMENT, NAMESPACE, body)

    def wait_for(self, ready: int) -> None:
        """Wait until exactly so many of its pods are there, and ready."""
        wait_until(lambda: self.ready_pods() == ready, SECONDS_TO_START, f"{ready} operator pods are ready", self.log)

    def ready_pods(self) -> int | None:
        """How many are ready; None while one is starting or ending."""
        pods = self.pods()
        if any(pod.metadata.deletion_timestamp or not is_ready(pod) for pod in pods):
            return None
        return len(pods)


def is_ready(pod: client.V1Pod) -> bool:
    return any(condition.type == "Ready" and condition.status == "True" for condition in pod.status.conditions or [])
