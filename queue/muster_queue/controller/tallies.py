"""Counts the jobs of queues and clusters: for the limits of a plan, and for the statuses of both."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import structlog

from muster_api.jobs import AIJobQueue, AIJobQueueStatus, ComputeCluster, ComputeClusterStatus
from muster_api.phases import ENDED_PHASES
from muster_api.quantities import QuantityError
from muster_kube.errors import ApiError
from muster_kube.resources import AIJOB_QUEUES, COMPUTE_CLUSTERS, ResourcePath
from muster_kube.writer import Writer
from muster_planner.limits import Limit, LimitKey
from muster_queue.controller.gang_writer import API_VERSION
from muster_queue.controller.groups import Group
from muster_queue.controller.world import World
from muster_queue.jobs.lifecycle import TERMINAL
from muster_queue.jobs.limits import limits_of
from muster_queue.jobs.templates import JobTemplate

log = structlog.get_logger(__name__)


def limits_now(world: World) -> Mapping[LimitKey, Limit]:
    """What queues and clusters allow, and what is taken at this moment."""
    catalog = world.catalog
    return limits_of(catalog.queues.values(), catalog.clusters.values(), _holding(world))


def is_holding(group: Group) -> bool:
    """Whether its job takes of the limits: from the moment its room is taken until its last pod is gone."""
    return bool(group.reserving) or (group.gang is not None and group.gang.status.phase not in ENDED_PHASES)


def queue_status(world: World, queue: AIJobQueue) -> AIJobQueueStatus:
    """Jobs of a queue that wait, and that hold places."""
    key = (queue.metadata.namespace, queue.metadata.name)
    counts: Counter[bool] = Counter()
    for group in world.groups.values():
        job = group.job
        if job is None or (job.metadata.namespace, job.spec.queue) != key:
            continue
        if is_holding(group):
            counts[True] += 1
        elif job.status.phase not in TERMINAL:
            counts[False] += 1
    generation = queue.metadata.generation
    return AIJobQueueStatus(pending=counts[False], running=counts[True], observed_generation=generation)


def cluster_status(world: World, cluster: ComputeCluster) -> ComputeClusterStatus:
    """The nodes that a cluster selects, and what its jobs hold."""
    selector = cluster.spec.node_selector.items()
    templates = [template for template in _holding(world) if template.job.spec.cluster == cluster.metadata.name]
    return ComputeClusterStatus(
        nodes=sum(1 for node in world.nodes.values() if selector <= node.metadata.labels.items()),
        jobs=len(templates),
        gpus=sum(template.gpus for template in templates),
        observed_generation=cluster.metadata.generation,
    )


class Tallier:
    """Writes the statuses that have changed, one after the other; what fails is written the next time."""

    def __init__(self, world: World, writer: Writer) -> None:
        self._world = world
        self._writer = writer

    async def write_all(self) -> None:
        for queue in list(self._world.catalog.queues.values()):
            status = queue_status(self._world, queue)
            if status != msgspec.structs.replace(queue.status, conditions=()):
                await self._write(AIJOB_QUEUES, "AIJobQueue", queue, status)
        for cluster in list(self._world.catalog.clusters.values()):
            counted = cluster_status(self._world, cluster)
            if counted != msgspec.structs.replace(cluster.status, conditions=()):
                await self._write(COMPUTE_CLUSTERS, "ComputeCluster", cluster, counted)

    async def _write(
        self,
        resource: ResourcePath,
        kind: str,
        subject: AIJobQueue | ComputeCluster,
        status: AIJobQueueStatus | ComputeClusterStatus,
    ) -> None:
        metadata = subject.metadata
        name: dict[str, Any] = {
            "name": metadata.name,
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
        }
        name |= {"namespace": metadata.namespace} if metadata.namespace else {}
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": name, "spec": subject.spec, "status": status}
        try:
            await self._writer.replace_status(resource.object_path(metadata.namespace, metadata.name), body)
        except ApiError as error:
            log.info("status not written", kind=kind, name=metadata.name, error=str(error))


def _holding(world: World) -> Iterator[JobTemplate]:
    for group in world.groups.values():
        if group.job is None or not is_holding(group):
            continue
        with contextlib.suppress(QuantityError):
            yield world.catalog.template(group.job)
