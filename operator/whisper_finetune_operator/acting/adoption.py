"""A run's workload that lost its label: no watch shows it any more, and its name is taken. It gets the label back."""

import logging

from whisper_finetune_operator.acting.cluster import Cluster
from whisper_finetune_operator.observability.logs import about
from whisper_finetune_operator.planning import manifest
from whisper_finetune_operator.watching.object_cache import Store
from whisper_finetune_operator.workloads.children import run_uid_of, uid_of
from whisper_finetune_operator.world import KubernetesObject, Run, controller_of

logger = logging.getLogger(__name__)


async def note_found(store: Store, cluster: Cluster, run: Run, kind: str, found: KubernetesObject) -> None:
    """Keep what the API server has under the child's name; what the run owns is labelled as the run's own first."""
    if controller_of(found).get("uid") == run.uid and run_uid_of(found) != run.uid:
        name = found["metadata"]["name"]
        logger.warning("%s %s had lost its labels, and gets them back", kind, name, extra=about(run))
        found = await cluster.relabel(kind, run.namespace, name, uid_of(found), manifest.labels_of_run(run))
    store.put_found(kind, found)
