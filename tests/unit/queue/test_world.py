"""The index: room is taken exactly once for each slot and pod, through every order of events."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from bones.builders import make_node, make_pod
from bones.gang_views import EPOCH, GANG_ID, make_ticket
from bones.job_views import make_job
from muster_api.gangs import Fence, Gang, GangSpec, GangStatus
from muster_api.jobs import JobResources
from muster_api.membership import shape_of
from muster_api.names import GATE, GPU_RESOURCE, MANAGED_LABEL, RELEASE_ANNOTATION
from muster_api.objects import Namespace, Node, ObjectMeta, Pod
from muster_api.phases import GangPhase
from muster_api.plans import Placement, encode_plan
from muster_api.tickets import Epoch, Ticket, TicketError, parse_epoch, sign, single_gang, verify
from muster_queue.controller.looking import Fitness
from muster_queue.controller.world import Listeners, World

KEY = b"key"


class Events:
    """Makes watch events with rising resource versions."""

    def __init__(self) -> None:
        self.version = 0

    def pod(self, name: str, *, gang: str = "g", node: str = "", ticket: Ticket | None = None, **status: Any) -> Pod:
        manifest = make_pod(name, "team", gang=gang, size=3 if gang else None)
        self.version += 1
        manifest["metadata"] |= {"uid": f"u-{name}", "resourceVersion": str(self.version)}
        if ticket is not None:
            manifest["metadata"]["annotations"][RELEASE_ANNOTATION] = sign(KEY, "team", ticket)
        elif not node:
            manifest["spec"]["schedulingGates"] = [{"name": GATE}]
        if node:
            manifest["spec"]["nodeName"] = node
        manifest["status"] = status
        return msgspec.convert(manifest, Pod)

    def gang(self, phase: GangPhase, plan: dict[int, Placement], epoch: str = EPOCH) -> Gang:
        self.version += 1
        return Gang(
            metadata=ObjectMeta(name="pods-g", namespace="team", uid="gang-uid", resource_version=str(self.version)),
            spec=GangSpec(id=GANG_ID, members=3, min_members=3),
            status=GangStatus(
                phase=phase, epoch=epoch, plan=tuple(encode_plan(plan)), reservation=Fence(term=2, seq=1)
            ),
        )


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def world() -> World:
    made = World((GPU_RESOURCE,))
    for name in ("n1", "n2"):
        made.see_node(msgspec.convert(make_node(name), Node))
    made.see_namespace(Namespace(metadata=ObjectMeta(name="team", labels={MANAGED_LABEL: "true"})))
    return made


def free(world: World, node: str = "n1") -> int:
    snapshot = world.capacity.freeze()
    column = snapshot.column(GPU_RESOURCE)
    assert column is not None
    return int(snapshot.free[snapshot.nodes.index[node], column])


def plan_for(pod: Pod, slots: int, node: str = "n1") -> dict[int, Placement]:
    return {slot: Placement(node, shape_of(pod)) for slot in range(slots)}


def test_a_reserved_slot_holds_room_until_its_pod_does(world: World, events: Events) -> None:
    gated = events.pod("a")
    world.see_pod(gated)
    assert free(world) == 8
    world.see_gang(events.gang(GangPhase.RELEASED, plan_for(gated, 3)))
    assert free(world) == 5
    world.see_pod(events.pod("a", ticket=make_ticket(0)))
    assert free(world) == 5
    world.see_pod(events.pod("a", ticket=make_ticket(0), node="n1"))
    assert free(world) == 5


def test_an_abort_gives_everything_back(world: World, events: Events) -> None:
    gated = events.pod("a")
    world.see_pod(gated)
    world.see_gang(events.gang(GangPhase.RELEASED, plan_for(gated, 3)))
    world.see_gang(events.gang(GangPhase.PENDING, {}, "2-2"))
    assert free(world) == 8


def test_a_running_gangs_slot_holds_nothing_once_its_pod_has_failed_or_gone(world: World, events: Events) -> None:
    pods = [events.pod(name, ticket=make_ticket(slot), node="n1") for slot, name in enumerate("abc")]
    for pod in pods:
        world.see_pod(pod)
    world.see_gang(events.gang(GangPhase.RUNNING, plan_for(pods[0], 3)))
    assert free(world) == 5
    world.see_pod(events.pod("a", ticket=make_ticket(0), node="n1", phase="Failed"))
    assert free(world) == 6
    world.lose_pod(pods[1])
    assert free(world) == 7


def test_room_is_taken_before_the_write_and_kept_through_other_news(world: World, events: Events) -> None:
    gated = events.pod("a")
    world.see_pod(gated)
    world.see_gang(events.gang(GangPhase.PENDING, {}))
    group = world.groups["team", "pods-g"]
    world.reserve_slots(group, plan_for(gated, 3))
    assert free(world) == 5
    world.see_gang(events.gang(GangPhase.PENDING, {}))
    world.see_pod(events.pod("b"))
    assert free(world) == 5
    world.reserve_slots(group, {})
    assert free(world) == 8


def test_a_terminating_pod_holds_its_room_until_it_is_gone(world: World, events: Events) -> None:
    pod = events.pod("a", ticket=make_ticket(0), node="n1")
    world.see_pod(pod)
    metadata = msgspec.structs.replace(pod.metadata, deletion_timestamp="2026-01-01T00:00:00Z", resource_version="99")
    going = msgspec.structs.replace(pod, metadata=metadata)
    world.see_pod(going)
    assert free(world) == 7
    world.lose_pod(going)
    assert free(world) == 8


def test_a_single_pods_ticket_is_its_reservation(world: World, events: Events) -> None:
    pod = events.pod("s", gang="")
    world.see_pod(pod)
    world.move_single("u-s", "n2")
    assert free(world, "n2") == 7
    world.see_pod(events.pod("s", gang="", ticket=Ticket(single_gang("u-s"), Epoch(2, 1), 0, "n2")))
    world.move_single("u-s", None)
    assert free(world, "n2") == 7
    world.see_pod(events.pod("s", gang="", node="n2"))
    assert free(world, "n2") == 7


def test_a_node_is_overfull_only_in_what_is_asked_for(world: World, events: Events) -> None:
    single = events.pod("s", gang="", ticket=Ticket(single_gang("u-s"), Epoch(1, 9), 0, "n2"))
    world.see_pod(single)
    shape = shape_of(single)
    assert not Fitness(world, world.capacity.freeze()).is_overfull("n2", shape)
    world.capacity.take("n2", "others", {GPU_RESOURCE: 8})
    assert Fitness(world, world.capacity.freeze()).is_overfull("n2", shape)
    world.capacity.take("n2", "others", {"example.com/other": 8})
    assert not Fitness(world, world.capacity.freeze()).is_overfull("n2", shape)


def test_an_older_state_and_an_answer_about_a_pod_that_is_gone_change_nothing(world: World, events: Events) -> None:
    gated = events.pod("a")
    bound = events.pod("a", ticket=make_ticket(0), node="n1")
    world.see_pod(bound)
    world.see_pod(gated)
    assert free(world) == 7
    world.lose_pod(bound)
    world.see_pod_answer(events.pod("a", ticket=make_ticket(0)))
    assert world.member("u-a") is None
    assert ("team", "pods-g") not in world.groups


def test_what_pods_asked_for_is_forgotten_with_the_last_of_them(world: World, events: Events) -> None:
    pods = [events.pod("a"), events.pod("b")]
    for pod in pods:
        world.see_pod(pod)
    assert list(world.shapes) == [shape_of(pods[0])]
    world.see_pod(events.pod("a", ticket=make_ticket(0)))
    world.lose_pod(pods[0])
    assert list(world.shapes) == [shape_of(pods[0])]
    world.lose_pod(pods[1])
    assert not world.shapes


def test_a_namespace_labelled_after_its_pods_wakes_them(events: Events) -> None:
    world = World((GPU_RESOURCE,))
    woken: list[object] = []
    world.listeners = Listeners(group_changed=woken.append, single_changed=woken.append)
    world.see_pod(events.pod("a"))
    world.see_pod(events.pod("s", gang=""))
    woken.clear()
    world.see_namespace(Namespace(metadata=ObjectMeta(name="team", labels={MANAGED_LABEL: "true"})))
    assert woken == [("team", "pods-g"), "u-s"]
    assert world.is_managed("team")


def test_in_any_order_of_events_the_room_in_the_end_is_the_same(events: Events) -> None:
    """Pods, Gang and nodes come from different watches: their order among each other is anybody's guess."""
    gated = events.pod("a")
    tickets = [make_ticket(slot) for slot in range(3)]
    last = [events.pod(name, ticket=tickets[slot], node="n1" if slot else "") for slot, name in enumerate("abc")]
    gang = events.gang(GangPhase.COMMITTED, plan_for(gated, 3))
    nodes = [msgspec.convert(make_node("n1"), Node)]
    for seed in range(50):
        world = World((GPU_RESOURCE,))
        news: list[Any] = [gang, *last, *nodes]
        random.Random(seed).shuffle(news)
        for item in news:
            {Pod: world.see_pod, Gang: world.see_gang, Node: world.see_node}[type(item)](item)
        assert free(world) == 5, seed


def test_members_that_have_succeeded_and_gone_are_of_one_try_only(world: World, events: Events) -> None:
    pods = [events.pod(name, ticket=make_ticket(slot), node="n1") for slot, name in enumerate("ab")]
    for pod in pods:
        world.see_pod(pod)
    world.see_gang(events.gang(GangPhase.RUNNING, {}))
    group = world.groups["team", "pods-g"]
    world.see_pod(events.pod("a", ticket=make_ticket(0), node="n1", phase="Succeeded"))
    world.lose_pod(pods[0])
    assert group.finished == 1
    world.see_gang(events.gang(GangPhase.PENDING, {}, "2-2"))
    assert group.finished == 0
    world.see_pod(events.pod("b", ticket=make_ticket(1), node="n1", phase="Succeeded"))
    world.lose_pod(pods[1])
    assert group.finished == 0


def _verified(namespace: str, text: str) -> Ticket | None:
    try:
        return verify((KEY,), namespace, text)
    except TicketError:
        return None


def test_only_a_signed_ticket_makes_a_pod_a_member_of_a_job(world: World) -> None:
    """Labels and owner references can be written by anybody."""
    world.read_tickets_again(_verified)
    owner = {"kind": "AIJob", "name": "train", "uid": "job-uid", "controller": True}
    for name, key in (("real", KEY), ("forged", b"another key"), ("bare", None)):
        manifest = make_pod(name, "team", gang="aijob-train", size=3)
        manifest["metadata"] |= {"uid": f"u-{name}", "resourceVersion": "900", "ownerReferences": [owner]}
        if key is not None:
            ticket = Ticket("job-abcdefghijklmnop", parse_epoch("1-1"), 0, "n1")
            manifest["metadata"]["annotations"][RELEASE_ANNOTATION] = sign(key, "team", ticket)
        world.see_pod(msgspec.convert(manifest, Pod))
    assert set(world.groups["team", "aijob-train"].members) == {"u-real"}
    assert set(world.groups["team", "pods-aijob-train"].members) == {"u-forged", "u-bare"}


def test_a_job_says_what_its_slots_ask_for_before_it_has_pods(world: World) -> None:
    world.see_job(make_job(resources=JobResources(requests={"cpu": "2", GPU_RESOURCE: "1"})))
    group = world.groups["team", "aijob-train"]
    template = world.catalog.template(make_job(resources=JobResources(requests={"cpu": "2", GPU_RESOURCE: "1"})))
    assert world.shapes[template.shape].demand[GPU_RESOURCE] == 1
    world.lose_job(make_job())
    assert group.job is None
    assert ("team", "aijob-train") not in world.groups
