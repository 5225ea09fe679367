"""What gangs hold of limits is what they were made with, until their last pod is gone, whatever their jobs say."""

from __future__ import annotations

from typing import Any

import msgspec

from bones.builders import make_node
from bones.gang_views import bound, make_gang, make_plan
from bones.job_views import make_job
from muster_api.gangs import Gang
from muster_api.jobs import AIJobQueue, AIJobQueueSpec, AIJobQueueStatus, ComputeCluster, ComputeClusterSpec
from muster_api.names import GPU_RESOURCE
from muster_api.objects import Node, ObjectMeta
from muster_api.phases import GangPhase, JobPhase
from muster_queue.controller.groups import Group
from muster_queue.controller.tallies import cluster_statuses, holding_of, queue_statuses
from muster_queue.controller.world import Listeners, World
from muster_queue.jobs.failures import PodState
from muster_queue.jobs.limits import Holding

KEY = ("team", "aijob-train")
HELD = Holding("team", "q", "c", places=2, gpus_each=4)


WORLD = World((GPU_RESOURCE,))
WORLD.see_node(msgspec.convert(make_node("n1"), Node))


def job_gang(phase: GangPhase, places: int = 2) -> Gang:
    gang = make_gang(phase, members=8, minimum=2, plan=make_plan(places))
    spec = msgspec.structs.replace(gang.spec, queue="q", cluster="c", gpus=4)
    return msgspec.structs.replace(
        gang, spec=spec, metadata=msgspec.structs.replace(gang.metadata, name=KEY[1], resource_version="7")
    )


def group_with(gang: Gang | None, **job: Any) -> Group:
    group = Group(KEY)
    group.see_gang(gang)
    group.job = make_job(JobPhase.RUNNING, **job)
    return group


def test_a_gang_is_charged_for_the_places_that_it_got() -> None:
    assert holding_of(WORLD, group_with(job_gang(GangPhase.RUNNING))) == HELD
    assert holding_of(WORLD, group_with(job_gang(GangPhase.PENDING, places=0))) is None
    assert holding_of(WORLD, group_with(None)) is None


def test_changing_or_orphaning_the_job_frees_nothing() -> None:
    group = group_with(job_gang(GangPhase.RUNNING), queue="another", cluster="another")
    assert holding_of(WORLD, group) == HELD
    group.job = None
    assert holding_of(WORLD, group) == HELD


def test_pods_that_still_run_hold_what_they_had() -> None:
    group = group_with(job_gang(GangPhase.RUNNING))
    last = bound("train-1-0", 0, label=KEY[1], state=PodState(), deleting=True)
    group.see_member(last)
    group.see_gang(None)
    assert holding_of(WORLD, group) == HELD
    group.lose_member(last.uid)
    assert holding_of(WORLD, group) is None


def test_a_pod_that_a_dead_node_cannot_finish_holds_nothing() -> None:
    world = World((GPU_RESOURCE,))
    world.see_node(Node(metadata=ObjectMeta(name="n1")))
    group = group_with(job_gang(GangPhase.RUNNING))
    group.see_member(bound("train-1-0", 0, label=KEY[1], state=PodState(), deleting=True))
    group.see_gang(None)
    assert holding_of(world, group) is None
    group.see_member(bound("train-1-1", 1, label=KEY[1], state=PodState()))
    assert holding_of(world, group) == HELD


def test_a_gang_of_plain_pods_is_nobodys_job() -> None:
    group = Group(("team", "pods-g"))
    group.see_gang(make_gang(GangPhase.RUNNING, plan=make_plan(3)))
    assert holding_of(WORLD, group) is None


def world_with_settings() -> World:
    world = World((GPU_RESOURCE,))
    for name in ("q", "other"):
        world.see_queue(AIJobQueue(metadata=ObjectMeta(name=name, namespace="team"), spec=AIJobQueueSpec()))
    spec = ComputeClusterSpec(node_selector={"pool": "a"})
    world.see_cluster(ComputeCluster(metadata=ObjectMeta(name="c"), spec=spec))
    for name, pool in (("n1", "a"), ("n2", "b")):
        world.see_node(Node(metadata=ObjectMeta(name=name, labels={"pool": pool})))
    return world


def test_queues_and_clusters_are_told_what_waits_and_what_runs() -> None:
    world = world_with_settings()
    world.see_job(make_job(queue="other"))
    world.groups["team", "aijob-runs"] = group_with(job_gang(GangPhase.COMMITTED))
    queues = queue_statuses(world)
    assert (queues["team", "q"].pending, queues["team", "q"].running) == (0, 1)
    assert (queues["team", "other"].pending, queues["team", "other"].running) == (1, 0)
    cluster = cluster_statuses(world)["c"]
    assert (cluster.nodes, cluster.jobs, cluster.gpus) == (1, 1, 8)


def test_no_number_is_larger_than_a_status_may_have() -> None:
    """A status that is refused is refused for ever, for all the jobs of the cluster."""
    world = world_with_settings()
    gang = job_gang(GangPhase.COMMITTED)
    spec = msgspec.structs.replace(gang.spec, gpus=9 * 10**18)
    world.groups["team", "aijob-runs"] = group_with(msgspec.structs.replace(gang, spec=spec))
    assert cluster_statuses(world)["c"].gpus == 2**31 - 1


def test_counts_in_a_status_make_nobody_look_again() -> None:
    world = world_with_settings()
    world.see_job(make_job(queue="q", cluster="c"))
    heard: list[object] = []
    world.listeners = Listeners(group_changed=heard.append, room_changed=lambda: heard.append("room"))
    [queue] = [queue for queue in world.catalog.queues.values() if queue.metadata.name == "q"]
    world.see_queue(msgspec.structs.replace(queue, status=AIJobQueueStatus(pending=1)))
    world.see_cluster(msgspec.structs.replace(world.catalog.clusters["c"]))
    assert heard == []
    world.see_queue(msgspec.structs.replace(queue, spec=AIJobQueueSpec(max_concurrency=1)))
    assert heard == [KEY, "room"]
