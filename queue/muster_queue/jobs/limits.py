"""What jobs take of the limits of their queues and clusters, and how much of those is taken already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from muster_api.jobs import AIJobQueue, ComputeCluster
from muster_api.reasons import Reason
from muster_planner.limits import Charge, Limit, LimitKey

QUEUE_JOBS: Final = "queue-jobs"
CLUSTER_JOBS: Final = "cluster-jobs"
CLUSTER_GPUS: Final = "cluster-gpus"


@dataclass(frozen=True, slots=True)
class Holding:
    """What one gang holds of its queue and its cluster: as its Gang was made, whatever its job says by now."""

    namespace: str
    queue: str
    cluster: str
    places: int
    gpus_each: int

    @property
    def gpus(self) -> int:
        return self.places * self.gpus_each


def charges_of(namespace: str, queue: str, cluster: str, gpus_each: int) -> tuple[Charge, ...]:
    """What a job takes from its reservation until its last pod is gone; GPUs only of members that have a place."""
    charges = [Charge((QUEUE_JOBS, namespace, queue), 1)]
    if cluster:
        charges += [Charge((CLUSTER_JOBS, "", cluster), 1), Charge((CLUSTER_GPUS, "", cluster), each=gpus_each)]
    return tuple(charges)


def limits_of(
    queues: Iterable[AIJobQueue], clusters: Iterable[ComputeCluster], holdings: Iterable[Holding]
) -> Mapping[LimitKey, Limit]:
    """Every limit that somebody has set, with what the gangs that hold places take of it."""
    bounds = [*_queue_bounds(queues), *_cluster_bounds(clusters)]
    if not bounds:
        return {}
    used: Counter[LimitKey] = Counter()
    for holding in holdings:
        for charge in charges_of(holding.namespace, holding.queue, holding.cluster, holding.gpus_each):
            used[charge.limit] += charge.of(holding.places)
    return {key: Limit(most, used[key], name, unit, reason) for key, most, name, unit, reason in bounds}


Bound = tuple[LimitKey, int, str, str, Reason]


def _queue_bounds(queues: Iterable[AIJobQueue]) -> list[Bound]:
    bounds: list[Bound] = []
    for queue in queues:
        namespace, name, most = queue.metadata.namespace, queue.metadata.name, queue.spec.max_concurrency
        if most is not None:
            bounds.append(((QUEUE_JOBS, namespace, name), most, f"queue {name}", "jobs at once", Reason.QUEUE_LIMIT))
    return bounds


def _cluster_bounds(clusters: Iterable[ComputeCluster]) -> list[Bound]:
    bounds: list[Bound] = []
    for cluster in clusters:
        name, capacity = cluster.metadata.name, cluster.spec.capacity
        if capacity is None:
            continue
        for kind, most, unit in (
            (CLUSTER_JOBS, capacity.max_jobs, "jobs at once"),
            (CLUSTER_GPUS, capacity.max_gpus, "GPUs at once"),
        ):
            if most is not None:
                bounds.append(((kind, "", name), most, f"cluster {name}", unit, Reason.CLUSTER_LIMIT))
    return bounds
