"""Counts the jobs of queues and clusters: for the limits of a plan, and for the statuses of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import structlog

from muster_api.gangs import Gang
from muster_api.jobs import AIJobQueue, AIJobQueueStatus, ComputeCluster, ComputeClusterStatus
from muster_api.objects import Node
from muster_api.phases import ENDED_PHASES
from muster_api.plans import Placement, PlanError
from muster_api.quantities import LARGEST_INT32
from muster_kube.errors import ApiError
from muster_kube.resources import AIJOB_QUEUES, COMPUTE_CLUSTERS, ResourcePath
from muster_kube.writer import Writer
from muster_planner.limits import Limit, LimitKey
from muster_queue.controller.gang_writer import API_VERSION
from muster_queue.controller.groups import Group
from muster_queue.controller.members import Member, Stage
from muster_queue.controller.world import World
from muster_queue.jobs.lifecycle import TERMINAL
from muster_queue.jobs.limits import Holding, limits_of

log = structlog.get_logger(__name__)


def limits_now(world: World) -> Mapping[LimitKey, Limit]:
    """What queues and clusters allow, and what is taken at this moment."""
    catalog = world.catalog
    if not catalog.queues and not catalog.clusters:
        return {}
    return limits_of(catalog.queues.values(), catalog.clusters.values(), holdings(world))


def holding_of(world: World, group: Group) -> Holding | None:
    """What the gang of a job holds, from the moment its room is taken until its last pod is gone.

    A pod that is being deleted on a node that does not answer may never go: it holds nothing.
    """
    gang = group.gang or group.last
    if gang is None or not group.is_of_job:
        return None
    bound = sum(1 for member in group.members.values() if member.stage is Stage.BOUND and not _is_stuck(world, member))
    is_under_way = group.gang is not None and gang.status.phase not in ENDED_PHASES
    if not (group.reserving or is_under_way or bound):
        return None
    plan = group.plan if group.gang is not None else _last_plan(gang)
    places = max(bound, len(plan.keys() | group.reserving.keys()))
    return Holding(gang.metadata.namespace, gang.spec.queue, gang.spec.cluster, places, gang.spec.gpus)


def holdings(world: World) -> Iterator[Holding]:
    """Of all gangs of jobs, whether their job still exists or not."""
    return (held for group in world.groups.values() if (held := holding_of(world, group)) is not None)


def queue_statuses(world: World) -> Mapping[tuple[str, str], AIJobQueueStatus]:
    """Jobs of each queue that wait, and that hold places."""
    pending: Counter[tuple[str, str]] = Counter()
    running: Counter[tuple[str, str]] = Counter()
    for group in world.groups.values():
        job, held = group.job, holding_of(world, group)
        if held is not None:
            running[held.namespace, held.queue] += 1
        elif job is not None and job.status.phase not in TERMINAL:
            pending[job.metadata.namespace, job.spec.queue] += 1
    return {
        key: AIJobQueueStatus(pending=pending[key], running=running[key], observed_generation=queue.metadata.generation)
        for key, queue in world.catalog.queues.items()
    }


def cluster_statuses(world: World) -> Mapping[str, ComputeClusterStatus]:
    """The nodes that each cluster selects, and what its jobs hold."""
    jobs: Counter[str] = Counter()
    gpus: Counter[str] = Counter()
    for held in holdings(world):
        jobs[held.cluster] += 1
        gpus[held.cluster] += held.gpus
    return {
        name: ComputeClusterStatus(
            nodes=sum(1 for node in world.nodes.values() if _selects(cluster, node)),
            jobs=jobs[name],
            gpus=min(gpus[name], LARGEST_INT32),
            observed_generation=cluster.metadata.generation,
        )
        for name, cluster in world.catalog.clusters.items()
    }


def _last_plan(gang: Gang) -> Mapping[int, Placement]:
    """The places of a Gang that is gone: they are let go of together, by its last pod."""
    try:
        return gang.placements()
    except PlanError:
        return {}


def _is_stuck(world: World, member: Member) -> bool:
    node = world.nodes.get(member.node)
    return member.deleting and (node is None or not node.is_ready)


def _selects(cluster: ComputeCluster, node: Node) -> bool:
    return cluster.spec.node_selector.items() <= node.metadata.labels.items()


class Tallier:
    """Writes the statuses that have changed, one after the other; what fails is written the next time."""

    def __init__(self, world: World, writer: Writer) -> None:
        self._world = world
        self._writer = writer

    async def write_all(self) -> None:
        catalog = self._world.catalog
        for key, status in (queue_statuses(self._world) if catalog.queues else {}).items():
            queue = catalog.queues.get(key)
            if queue is not None and status != msgspec.structs.replace(queue.status, conditions=()):
                await self._write(AIJOB_QUEUES, "AIJobQueue", queue, status)
        for name, counted in (cluster_statuses(self._world) if catalog.clusters else {}).items():
            cluster = catalog.clusters.get(name)
            if cluster is not None and counted != msgspec.structs.replace(cluster.status, conditions=()):
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
