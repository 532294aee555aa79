"""What Kueue says of a Job that it does not let begin, read from the Workload that it makes for each Job. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from whisper_finetune_operator.kubernetes_objects import KubernetesObject
from whisper_finetune_operator.world import QueueNotice

#: Group, version and plural name of Kueue's Workloads.
KUEUE_VERSION, KUEUE_WORKLOADS = "kueue.x-k8s.io/v1beta2", "workloads"
_ADMITTED, _QUOTA_RESERVED, _EVICTED, _REQUEUED = "Admitted", "QuotaReserved", "Evicted", "Requeued"
#: The reason of a condition about a queue that is missing, stopped, or leads nowhere.
_INADMISSIBLE = "Inadmissible"


def read_notices(workload: KubernetesObject) -> Iterator[tuple[str, QueueNotice]]:
    """Yield the notice after the UID of each owner of the Workload, such as a Job. One that is admitted has none."""
    notice = _read_notice(workload)
    if notice:
        owners = workload["metadata"].get("ownerReferences") or ()
        yield from ((owner["uid"], notice) for owner in owners)


def _read_notice(workload: KubernetesObject) -> QueueNotice | None:
    name, spec, status = workload["metadata"]["name"], workload.get("spec") or {}, workload.get("status") or {}
    conditions = {each.get("type", ""): each for each in status.get("conditions") or ()}
    queue = spec.get("queueName", "")
    evicted = _message(conditions, _EVICTED, "True")
    if spec.get("active") is False:
        return QueueNotice(name, queue, evicted, "Deactivated")
    if conditions.get(_ADMITTED, {}).get("status") == "True":
        return None
    parts = (*_checks(status), _message(conditions, _QUOTA_RESERVED, "False"), evicted)
    said = list(dict.fromkeys(filter(None, (*parts, _message(conditions, _REQUEUED, "False")))))
    if not said:
        return None
    stuck = conditions.get(_QUOTA_RESERVED, {}).get("reason") == _INADMISSIBLE
    return QueueNotice(name, queue, "; ".join(said), "Inadmissible" if stuck else "Waits")


def _message(conditions: Mapping[str, Mapping[str, Any]], kind: str, status: str) -> str:
    condition = conditions.get(kind, {})
    return str(condition.get("message", "")).strip().rstrip(".") if condition.get("status") == status else ""


def _checks(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the admission checks say that the Workload has not passed."""
    for check in status.get("admissionChecks") or ():
        if check.get("state") != "Ready":
            yield f"admission check {check.get('name')} is {check.get('state')}: {check.get('message', '')}".rstrip(
                ": "
            )
