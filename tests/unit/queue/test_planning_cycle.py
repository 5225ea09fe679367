"""One cycle of the leader's loop: nothing that waits is lost from it, and nothing that is poisoned stops it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from bones.builders import make_node, make_pod
from bones.clock import ManualClock
from bones.gang_store import GangStore, make_hands
from bones.gang_views import SHAPE, TERM, bound, make_gang, make_plan, released
from muster_api.gangs import Fence, PlacementTerm
from muster_api.names import BIND_MARKER, GATE, MANAGED_LABEL, MEMBER_MARKER
from muster_api.objects import Namespace, Node, ObjectMeta, Pod
from muster_api.phases import GangPhase
from muster_planner.planning import plan
from muster_planner.policy import Policy
from muster_planner.request import GangRequest
from muster_planner.reservation import GroupPlacement, NodeRun, Plan, Reservation
from muster_planner.retry import NOTHING_LEARNT
from muster_queue.controller import loop
from muster_queue.controller.attention import Attention
from muster_queue.controller.backlog import Backlog, GangTarget, GrowthTarget, Target, gang_request
from muster_queue.controller.loop import Leader, Rules
from muster_queue.controller.performing import Performer
from muster_queue.controller.reserving import Reserver
from muster_queue.controller.timing import Patience
from muster_queue.controller.workers import Workers
from muster_queue.controller.world import World

KEY = ("team", "pods-g")


def single(name: str) -> Pod:
    manifest: dict[str, Any] = make_pod(name, "team")
    manifest["metadata"] |= {"uid": f"u-{name}", "resourceVersion": "1"}
    manifest["spec"]["schedulingGates"] = [{"name": GATE}]
    asked = manifest["spec"]["containers"][0]["resources"]
    for amounts in asked.values():
        amounts |= {MEMBER_MARKER: "0", BIND_MARKER: "0"}
    return msgspec.convert(manifest, Pod)


def fill(world: World, *pods: Pod) -> None:
    world.see_node(msgspec.convert(make_node("n1"), Node))
    world.see_namespace(Namespace(metadata=ObjectMeta(name="team", labels={MANAGED_LABEL: "true"})))
    for pod in pods:
        world.see_pod(pod)


def make_leader(clock: ManualClock, *pods: Pod) -> Leader:
    hands = make_hands(GangStore(), clock)
    fill(hands.world, *pods)
    rules = Rules(Patience(), Policy(), plan_interval=0.0, is_fresh=lambda: True)
    leader = Leader(hands, rules, PlacementTerm(spec=Fence(term=TERM, seq=1)))
    for pod in pods:
        leader._attention.mark_single(pod.metadata.uid)
    return leader


async def test_a_pod_that_cannot_be_planned_is_set_aside_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def sick(snapshot: Any, requests: Iterable[GangRequest], policy: Policy, now: float, *limits: Any) -> Plan:
        requests = list(requests)
        if any(request.uid in ("u-1", "u-4") for request in requests):
            raise OverflowError("Python int too large to convert to C long")
        return plan(snapshot, requests, policy, now)

    monkeypatch.setattr(loop, "plan", sick)
    clock = ManualClock()
    leader = make_leader(clock, *(single(str(number)) for number in range(6)))
    leader.snapshot()
    assert leader.plan() is None
    clock.advance(1.0)
    proposal = leader.plan()
    assert proposal is not None
    assert sorted(reservation.uid for reservation in proposal.plan.reservations) == ["u-0", "u-2", "u-3", "u-5"]


@pytest.mark.parametrize(
    ("phase", "target"),
    [(GangPhase.PENDING, GangTarget(KEY)), (GangPhase.RUNNING, GrowthTarget(KEY, "u-a"))],
    ids=["a whole gang", "a late member"],
)
async def test_a_plan_for_a_gang_that_is_busy_is_asked_for_again(phase: GangPhase, target: Target) -> None:
    gang = make_gang(phase)
    store = GangStore(gang)
    hands = make_hands(store)
    backlog = Backlog()
    attention = Attention(hands.world, hands.clock)
    workers = Workers(attention, hands.metrics)
    reserver = Reserver(hands.world, backlog, workers, Performer(hands, TERM), hands.metrics)
    wish = (gang_request(gang, (), {}, NOTHING_LEARNT), target)
    backlog.wish(KEY, [wish])
    backlog.has_changed = False
    async with asyncio.TaskGroup() as tasks:
        workers.work_in(tasks)
        workers.start(KEY, asyncio.sleep(0))
        reservation = Reservation(KEY, gang.metadata.uid, (GroupPlacement(SHAPE, (), (NodeRun("n1", 1),)),))
        reserver.start_all([reservation], {gang.metadata.uid: target}, Fence(term=TERM, seq=1))
    backlog.has_changed = False
    backlog.wish(KEY, [wish])
    assert backlog.has_changed


async def test_nothing_is_evicted_for_what_a_blind_cache_does_not_show() -> None:
    """A committed gang whose binding would be late, had the watch not been silent for longer than that."""
    clock, is_current = ManualClock(), [True]
    gang = make_gang(GangPhase.COMMITTED, plan=make_plan(3))
    store = GangStore(gang)
    hands = make_hands(store, clock)
    fill(hands.world)
    for member in (bound("a", 0), released("b", 1), released("c", 2)):
        hands.world.groups[KEY].members[member.uid] = member
    rules = Rules(Patience(repair=60), Policy(), 0.0, lambda: True, lambda: is_current[0])
    leader = Leader(hands, rules, PlacementTerm(spec=Fence(term=TERM, seq=1)))

    async def cycle(after: float, *, sees: bool) -> GangPhase:
        clock.advance(after)
        is_current[0] = sees
        leader._attention.mark_group(KEY)
        async with asyncio.TaskGroup() as tasks:
            leader._workers.work_in(tasks)
            leader.release(leader.snapshot())
        assert store.gang is not None
        return store.gang.status.phase

    assert await cycle(1.0, sees=True) is GangPhase.COMMITTED
    assert await cycle(70.0, sees=False) is GangPhase.COMMITTED
    assert await cycle(1.0, sees=True) is GangPhase.COMMITTED
    assert await cycle(60.0, sees=True) is GangPhase.EVICTING
