"""Containers beside the trainer's, which others add to its pod: how long they may run on once the trainer has ended.

A mesh's proxy or a secrets agent may never end by itself, and would keep the pod, its card and its partition for ever.
A native sidecar is no such container: the kubelet ends it.
"""

import math
from collections.abc import Iterable
from datetime import datetime, timedelta

from whisper_finetune_operator.workloads.pods import Pod

#: What ships logs gets so long for the last of them.
_PATIENCE = timedelta(seconds=30)


def sidecar_seconds_left(pods: Iterable[Pod], now: datetime) -> float:
    """Return for how long pods that have not ended are left to do so by themselves.

    None at all where a trainer is at work, for ever where nothing but a trainer that has ended is in them.
    """
    return min((_left(pod, now) for pod in pods), default=0.0)


def _left(pod: Pod, now: datetime) -> float:
    if not pod.over:
        return 0.0
    if not pod.companions:
        return math.inf
    # A node that has lost a container knows no time of its end.
    since = pod.finished_at or pod.created
    # The node's clock may be ahead of this one.
    return max(0.0, min(since + _PATIENCE - now, _PATIENCE).total_seconds())
