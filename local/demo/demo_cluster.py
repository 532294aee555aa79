"""The demo's objects on the API server, by the official client."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kubernetes import client, dynamic
from urllib3.exceptions import HTTPError

from demo import operator_installation
from demo.faults import NoAnswerError
from whisper_finetune_api import v1alpha1

NAMESPACE = "default"
FIELD_MANAGER = "whisper-finetune-demo"
NOT_FOUND = 404
FIRST_SERVER_ERROR = 500
LOG_LINES = 20

Run = dict[str, Any]


@dataclass(frozen=True)
class DemoCluster:
    """One namespace of a cluster."""

    api: client.ApiClient
    namespace: str = NAMESPACE

    @cached_property
    def core(self) -> client.CoreV1Api:
        return client.CoreV1Api(self.api)

    def apply(self, body: dict[str, Any]) -> None:
        """Create an object, or change it to what is given."""
        resources = dynamic.DynamicClient(self.api).resources
        resource = resources.get(api_version=body["apiVersion"], kind=body["kind"])
        metadata = body["metadata"]
        namespace = metadata.get("namespace", self.namespace)
        resource.server_side_apply(
            body=body, name=metadata["name"], namespace=namespace, field_manager=FIELD_MANAGER, force_conflicts=True
        )

    def run(self, name: str) -> Run | None:
        """Return a WhisperFineTune, or None where there is none. Raises NoAnswerError where the server cannot say."""
        place = (v1alpha1.GROUP, v1alpha1.VERSION, self.namespace, v1alpha1.PLURAL)
        try:
            found: Run = client.CustomObjectsApi(self.api).get_namespaced_custom_object(*place, name)
        except client.ApiException as refusal:
            if refusal.status == NOT_FOUND:
                return None
            if refusal.status >= FIRST_SERVER_ERROR:
                raise NoAnswerError(f"the API server says {refusal.status} {refusal.reason}") from refusal
            raise
        except HTTPError as silence:
            raise NoAnswerError(f"the API server does not answer: {silence}") from silence
        return found

    def delete_run(self, name: str) -> None:
        """Delete a run with all that belongs to it. The API server still deletes after its answer."""
        place = (v1alpha1.GROUP, v1alpha1.VERSION, self.namespace, v1alpha1.PLURAL)
        client.CustomObjectsApi(self.api).delete_namespaced_custom_object(*place, name, propagation_policy="Foreground")

    def log_of(self, pod: str, namespace: str) -> str:
        """Return the last lines of a pod's log, or what the API server says where there is none."""
        try:
            text: str = self.core.read_namespaced_pod_log(pod, namespace, tail_lines=LOG_LINES)
        except client.ApiException as refusal:
            return f"(no log of {pod}: {refusal.status} {refusal.reason})"
        return text.rstrip()

    def operator_log(self) -> str:
        """Return the last lines of each operator pod's log."""
        pods = self.core.list_namespaced_pod(
            operator_installation.NAMESPACE, label_selector=operator_installation.SELECTOR
        )
        logs = [self.log_of(pod.metadata.name, operator_installation.NAMESPACE) for pod in pods.items]
        return "\n".join(logs) or "(there is no operator pod)"
