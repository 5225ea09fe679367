"""What jobs take of the limits of their queues and clusters, and how much of those is taken already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from muster_api.jobs import AIJobQueue, ComputeCluster
from muster_api.reasons import Reason
from muster_planner.limits import Charge, Limit, LimitKey
from muster_queue.jobs.templates import JobTemplate

QUEUE_JOBS: Final = "queue-jobs"
CLUSTER_JOBS: Final = "cluster-jobs"
CLUSTER_GPUS: Final = "cluster-gpus"


def charges_of(template: JobTemplate) -> tuple[Charge, ...]:
    """What a job takes from its reservation until its last pod is gone."""
    job = template.job
    charges = [Charge((QUEUE_JOBS, job.metadata.namespace, job.spec.queue), 1)]
    if job.spec.cluster:
        charges.append(Charge((CLUSTER_JOBS, "", job.spec.cluster), 1))
        charges.append(Charge((CLUSTER_GPUS, "", job.spec.cluster), template.gpus))
    return tuple(charges)


def limits_of(
    queues: Iterable[AIJobQueue], clusters: Iterable[ComputeCluster], holding: Iterable[JobTemplate]
) -> Mapping[LimitKey, Limit]:
    """Every limit that somebody has set, with what the jobs that hold places take of it."""
    bounds = [*_queue_bounds(queues), *_cluster_bounds(clusters)]
    if not bounds:
        return {}
    used: Counter[LimitKey] = Counter()
    for template in holding:
        for charge in charges_of(template):
            used[charge.limit] += charge.amount
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
