"""A namespace of a real API server, read and changed with the official client, independently of the operator."""

import datetime as dt
import uuid
from collections.abc import Iterable
from typing import Any

from kubernetes import client

from specs import MINIMAL
from whisper_finetune_api import v1alpha1
from whisper_finetune_operator.api.preflight import Right

VERSION = f"{v1alpha1.GROUP}/{v1alpha1.VERSION}"


_TIME = "%Y-%m-%dT%H:%M:%SZ"


class Namespace:
    """A namespace of its own for one test."""

    def __init__(self, api: client.ApiClient) -> None:
        self.name = f"test-{uuid.uuid4().hex[:8]}"
        self.core = client.CoreV1Api(api)
        self.batch = client.BatchV1Api(api)
        self.custom = client.CustomObjectsApi(api)
        self._place = (v1alpha1.GROUP, v1alpha1.VERSION, self.name, v1alpha1.PLURAL)
        self.core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=self.name)))

    def create_run(self, name: str, *, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
        body = {
            "apiVersion": VERSION,
            "kind": v1alpha1.KIND,
            "metadata": {"name": name, "labels": labels or {}},
            "spec": {**MINIMAL, **spec},
        }
        made: dict[str, Any] = self.custom.create_namespaced_custom_object(*self._place, body)
        return made

    def run(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.custom.get_namespaced_custom_object(*self._place, name)
        return found

    def delete_run(self, name: str) -> None:
        self.custom.delete_namespaced_custom_object(*self._place, name)

    def condition(self, name: str, kind: str = "Succeeded") -> dict[str, Any]:
        conditions = self.run(name).get("status", {}).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == kind), {})

    def versions(self, run: str) -> list[str]:
        """Return the versions of the run, its Job and its pods: any write changes one of them."""
        metadata = [*(job.metadata for job in self.jobs()), *(pod.metadata for pod in self.pods())]
        return [self.run(run)["metadata"]["resourceVersion"], *(each.resource_version for each in metadata)]

    def create_foreign_job(self, name: str) -> None:
        """Create a Job that is no run's."""
        pod = {"spec": {"restartPolicy": "Never", "containers": [{"name": "other", "image": "other:none"}]}}
        self.batch.create_namespaced_job(
            self.name, {"metadata": {"name": name}, "spec": {"suspend": True, "template": pod}}
        )

    def delete_job(self, name: str, propagation_policy: str = "Background") -> None:
        self.batch.delete_namespaced_job(name, self.name, propagation_policy=propagation_policy)

    def jobs(self) -> list[client.V1Job]:
        jobs: list[client.V1Job] = self.batch.list_namespaced_job(self.name).items
        return jobs

    def pods(self) -> list[client.V1Pod]:
        pods: list[client.V1Pod] = self.core.list_namespaced_pod(self.name).items
        return pods

    def events(self, run: str) -> list[client.CoreV1Event]:
        selector = f"involvedObject.kind={v1alpha1.KIND},involvedObject.name={run}"
        events: list[client.CoreV1Event] = self.core.list_namespaced_event(self.name, field_selector=selector).items
        return events

    def lease_holder(self) -> str:
        lease = client.CoordinationV1Api(self.core.api_client).read_namespaced_lease(
            "whisper-finetune-operator", self.name
        )
        return lease.spec.holder_identity or ""

    def service_account_token(self, name: str, bound_to: str | None = None) -> str:
        """Return a token of a service account, made where it is missing; it ends with the Secret it is bound to."""
        if name not in [
            account.metadata.name for account in self.core.list_namespaced_service_account(self.name).items
        ]:
            self.core.create_namespaced_service_account(self.name, {"metadata": {"name": name}})
        spec: dict[str, Any] = {"audiences": []}
        if bound_to:
            self.core.create_namespaced_secret(self.name, {"metadata": {"name": bound_to}})
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Secret", "name": bound_to}
        request = self.core.create_namespaced_service_account_token(name, self.name, {"spec": spec})
        token: str = request.status.token
        return token

    def takes_token(self, token: str) -> bool:
        """Return whether the server still knows whose token it is."""
        review = {"spec": {"token": token}}
        answer = client.AuthenticationV1Api(self.core.api_client).create_token_review(review)
        return bool(answer.status.authenticated)

    def allow_everything(self, service_account: str) -> None:
        """Let the service account do everything in this namespace."""
        subject = {"kind": "ServiceAccount", "name": service_account, "namespace": self.name}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
        binding = {"metadata": {"name": service_account}, "roleRef": role, "subjects": [subject]}
        client.RbacAuthorizationV1Api(self.core.api_client).create_namespaced_role_binding(self.name, binding)

    def allow(self, service_account: str, rights: Iterable[Right]) -> None:
        """Let the service account do that much in this namespace."""
        rules = [
            {
                "apiGroups": [right.resource.group],
                "resources": [f"{right.resource.plural}/{right.part}" if right.part else right.resource.plural],
                "verbs": [right.verb],
            }
            for right in rights
        ]
        access = client.RbacAuthorizationV1Api(self.core.api_client)
        access.create_namespaced_role(self.name, {"metadata": {"name": service_account}, "rules": rules})
        subject = {"kind": "ServiceAccount", "name": service_account, "namespace": self.name}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": service_account}
        binding = {"metadata": {"name": service_account}, "roleRef": role, "subjects": [subject]}
        access.create_namespaced_role_binding(self.name, binding)

    def run_pod(self, pod: client.V1Pod, address: str = "10.0.0.1") -> None:
        """Do what a kubelet does when the trainer begins."""
        self._set_pod(pod, {"phase": "Running", "podIP": address}, {"running": {"startedAt": _now()}})

    def end_pod(self, pod: client.V1Pod, exit_code: int, message: str) -> None:
        """Do what a kubelet does when the trainer ends."""
        states = self.core.read_namespaced_pod(pod.metadata.name, self.name).status.container_statuses
        began = states[0].state.running.started_at.strftime(_TIME) if states and states[0].state.running else _now()
        ended = {"exitCode": exit_code, "message": message, "startedAt": began, "finishedAt": _now()}
        self._set_pod(pod, {"phase": "Failed" if exit_code else "Succeeded"}, {"terminated": ended})

    def hold_pod(self, pod: client.V1Pod, finalizer: str | None) -> None:
        """Keep a deleted pod there until the finalizer is None, as a kubelet does until its containers have ended."""
        finalizers = [finalizer] if finalizer else None
        self.core.patch_namespaced_pod(pod.metadata.name, self.name, {"metadata": {"finalizers": finalizers}})

    def _set_pod(self, pod: client.V1Pod, status: dict[str, Any], state: dict[str, Any]) -> None:
        container = {"name": "trainer", "image": "trainer", "imageID": "", "ready": False, "restartCount": 0}
        containers = [{**container, "state": state}]
        self.core.patch_namespaced_pod_status(
            pod.metadata.name, self.name, {"status": {**status, "containerStatuses": containers}}
        )


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime(_TIME)
