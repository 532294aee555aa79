"""How kstatus reads an object of any kind, and so do Flux and tools like `kubectl wait`.

`test_kstatus.py` asks kstatus itself, and finds the same.
"""

from typing import Any, Literal

Verdict = Literal["Terminating", "InProgress", "Failed", "Current"]
#: What each state is to be for Flux.
KSTATUS: dict[str, Verdict] = {
    "Pending": "InProgress",
    "Queued": "InProgress",
    "Preparing": "InProgress",
    "Evaluating": "InProgress",
    "Training": "InProgress",
    "Running": "InProgress",
    "Unknown": "InProgress",
    "Suspended": "Current",
    "Succeeded": "Current",
    "Failed": "Failed",
}


def kstatus(thing: dict[str, Any]) -> Verdict:
    """Return the verdict of kstatus' generic rules, in their order."""
    metadata, status = thing["metadata"], thing.get("status") or {}
    conditions = {condition["type"]: condition["status"] for condition in status.get("conditions") or ()}
    if "deletionTimestamp" in metadata:
        return "Terminating"
    if status.get("observedGeneration", metadata["generation"]) != metadata["generation"]:
        return "InProgress"
    if conditions.get("Reconciling") == "True":
        return "InProgress"
    if conditions.get("Stalled") == "True":
        return "Failed"
    if conditions.get("Ready", "True") != "True":
        return "InProgress"
    return "Current"
