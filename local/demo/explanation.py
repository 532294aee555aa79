"""Why a run did not succeed: the reason from its status, and the last lines of the right log."""

from demo.demo_cluster import DemoCluster
from demo.progress_of_run import Sight


def of_failed_run(sight: Sight, cluster: DemoCluster) -> str:
    """Return reason and message of the status, and the end of the trainer's log. Without a pod it is the operator's."""
    status = sight.status
    if status.pod_name:
        log, name = cluster.log_of(status.pod_name, cluster.namespace), f"trainer pod {status.pod_name}"
    else:
        log, name = cluster.operator_log(), "operator"
    return f"the run failed: {sight.reason}: {sight.message}\n--- last lines of the {name}\n{log}"
