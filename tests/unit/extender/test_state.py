"""Ledger and claims: every GPU counted once, whatever happens in whatever order."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bones.extender_world import (
    GANG_ID,
    make_gang,
    make_node,
    make_pod,
    make_single_ticket,
    make_state,
    make_ticket,
)
from muster_api.membership import shape_of
from muster_api.names import GPU_RESOURCE
from muster_api.phases import HOLDING_PHASES, GangPhase
from muster_api.tickets import Ticket, parse_epoch
from muster_extender.ledger import Hold, Ledger
from muster_extender.pods import in_order, record_of
from muster_extender.shapes import Shapes
from muster_extender.state import ClusterState


def free(state: ClusterState, node: str = "n0") -> int:
    return state.ledger.free(node, GPU_RESOURCE)


def test_a_bound_pod_holds_its_gpus_until_it_is_gone() -> None:
    state = make_state()
    state.observe_pod(make_pod("a", gpus=3, node="n0"))
    assert free(state) == 5
    state.observe_pod(make_pod("a", gpus=3, node="n0", deleting=True))
    assert free(state) == 5
    state.forget_pod(make_pod("a", gpus=3, node="n0"))
    assert free(state) == 8


def test_a_pod_at_its_end_holds_nothing() -> None:
    state = make_state()
    state.observe_pod(make_pod("a", gpus=3, node="n0"))
    state.observe_pod(make_pod("a", gpus=3, node="n0", phase="Succeeded"))
    assert free(state) == 8


def test_the_ticket_of_a_single_pod_holds_its_gpus() -> None:
    state = make_state()
    state.observe_pod(make_pod("a", gpus=2, ticket=make_single_ticket("uid-a")))
    assert free(state) == 6
    state.observe_pod(make_pod("a", gpus=2, ticket=make_single_ticket("uid-a"), node="n0"))
    assert free(state) == 6


def test_slots_of_unknown_demand_fill_their_node_until_a_pod_of_their_shape_is_seen() -> None:
    state = make_state()
    pod = make_pod("a", gpus=2, gang="g")
    state.observe_gang(make_gang(GangPhase.RESERVED, shape=shape_of(pod)))
    assert state.ledger.with_room(["n0", "n1"], {GPU_RESOURCE: 1}) == ["n1"]
    state.observe_pod(pod)
    assert free(state) == 4
    assert state.ledger.with_room(["n0", "n1"], {GPU_RESOURCE: 4}) == ["n0", "n1"]


def test_a_new_shape_is_looked_for_only_in_gangs_that_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    state = make_state()
    pod = make_pod("a", gpus=2, gang="g")
    looked_at: list[str] = []
    for number in range(20):
        state.observe_gang(make_gang(gang_id=f"{number:016}", plan={"n0": "0-99"}, shape=f"shape {number}"))
    state.observe_gang(make_gang(plan={"n1": "0-1"}, shape=shape_of(pod)))
    monkeypatch.setattr(state, "_hold_slot", lambda gang, slot: looked_at.append(gang.id))
    state.observe_pod(make_pod("other", gpus=3))
    assert looked_at == []
    state.observe_pod(pod)
    assert looked_at == [GANG_ID] * 2


def test_a_shape_is_forgotten_with_the_last_pod_and_plan_of_it() -> None:
    state = make_state()
    pod = make_pod("a", gpus=2, gang="g")
    shape = shape_of(pod)
    state.observe_pod(pod)
    state.observe_gang(make_gang(shape=shape))
    state.forget_pod(pod)
    assert state._shapes.demand(shape) == {GPU_RESOURCE: 2}
    assert free(state) == 4
    state.observe_gang(make_gang(plan={"n1": "0"}, epoch="1-2", shape=shape))
    assert free(state, "n1") == 6
    state.forget_gang(make_gang())
    assert state._shapes.demand(shape) is None
    assert vars(state._shapes) == vars(Shapes())


def test_a_plan_that_changes_while_its_shape_is_unknown_still_hears_of_it() -> None:
    state = make_state()
    pod = make_pod("a", gpus=2, gang="g")
    state.observe_gang(make_gang(shape=shape_of(pod)))
    state.observe_gang(make_gang(plan={"n1": "0-2"}, epoch="1-2", shape=shape_of(pod)))
    state.observe_pod(pod)
    assert (free(state), free(state, "n1")) == (8, 2)


def test_a_member_takes_over_the_room_of_its_slot() -> None:
    state = make_state()
    state.observe_gang(make_gang())
    state.observe_pod(make_pod("a", gpus=2, gang="g", ticket=make_ticket(0)))
    state.observe_pod(make_pod("b", gpus=2, gang="g", ticket=make_ticket(1)))
    assert free(state) == 4
    record = state.pods["uid-a"]
    state.begin_bind(record, "n0")
    assert free(state) == 4
    assert not state.ledger.has_firm_room("n0", {GPU_RESOURCE: 7})
    state.cancel_bind(record)
    assert state.ledger.has_firm_room("n0", {GPU_RESOURCE: 8})
    state.observe_pod(make_pod("a", gpus=2, gang="g", ticket=make_ticket(0), node="n0"))
    assert free(state) == 4


def test_an_abort_gives_everything_back() -> None:
    state = make_state()
    state.observe_gang(make_gang())
    state.observe_pod(make_pod("a", gpus=2, gang="g", ticket=make_ticket(0)))
    state.observe_gang(make_gang(GangPhase.PENDING, plan={}, epoch="1-2"))
    assert free(state) == 8
    assert state.ledger.holds == {}


def test_a_slot_whose_pod_has_ended_promises_nothing_any_more() -> None:
    state = make_state()
    state.observe_gang(make_gang(GangPhase.RUNNING))
    state.observe_pod(make_pod("a", gpus=2, gang="g", ticket=make_ticket(0), node="n0"))
    state.forget_pod(make_pod("a"))
    assert free(state) == 8


def test_a_pod_that_lost_its_ticket_takes_what_its_slot_was_known_to_ask_for_with_it() -> None:
    state = make_state()
    state.observe_pod(make_pod("a", gpus=2, ticket=make_ticket(0, "n0")))
    state.observe_gang(make_gang(GangPhase.RESERVED, plan={"n0": "0"}))
    state.observe_pod(make_pod("a", gpus=2, ticket=""))
    assert state.ledger.holds[GANG_ID, 0].demand == {GPU_RESOURCE: 2}
    state.forget_pod(make_pod("a"))
    assert state.ledger.holds[GANG_ID, 0].demand is None


def test_a_slot_belongs_to_the_first_uid_that_shows_it_and_to_no_other_after_it() -> None:
    state = make_state()
    ticket = Ticket(GANG_ID, parse_epoch("1-1"), 0, "n0")
    state.observe_pod(make_pod("a", gang="g", ticket=make_ticket(0)))
    state.observe_pod(make_pod("copy", gang="g", ticket=make_ticket(0)))
    state.forget_pod(make_pod("a"))
    claim = state.claims.holder(ticket)
    assert claim is not None and claim.uid == "uid-a"


def test_after_a_restart_the_bound_and_then_the_oldest_pod_has_the_slot() -> None:
    state = make_state()
    young_but_bound = make_pod("young", ticket=make_ticket(0), created="2026-03-01T00:00:00Z", node="n0")
    old = make_pod("old", ticket=make_ticket(1), created="2026-01-01T00:00:00Z")
    younger = make_pod("a-younger", ticket=make_ticket(1), created="2026-02-01T00:00:00Z")
    copy = make_pod("copy", ticket=make_ticket(0), created="2026-01-01T00:00:00Z")
    for pod in in_order([copy, younger, old, young_but_bound]):
        state.observe_pod(pod)
    for slot, uid in ((0, "uid-young"), (1, "uid-old")):
        claim = state.claims.slot_claim(GANG_ID, parse_epoch("1-1"), slot)
        assert claim is not None and claim.uid == uid


def test_claims_of_earlier_epochs_are_forgotten() -> None:
    state = make_state()
    state.observe_pod(make_pod("a", ticket=make_ticket(0)))
    state.observe_gang(make_gang(epoch="1-2"))
    assert state.claims.slot_claim(GANG_ID, parse_epoch("1-1"), 0) is None


def test_a_gang_that_is_gone_is_claimed_from_no_more() -> None:
    state = make_state()
    state.observe_gang(make_gang())
    state.observe_pod(make_pod("a", gpus=2, ticket=make_ticket(0)))
    state.forget_gang(make_gang())
    state.observe_pod(make_pod("a", gpus=2, ticket=make_ticket(0), deleting=True))
    assert state.claims.slot_claim(GANG_ID, parse_epoch("1-1"), 0) is None


def test_keys_that_come_later_make_tickets_count() -> None:
    state = make_state()
    state.verifier.use_keys(())
    state.observe_pod(make_pod("a", gpus=2, ticket=make_single_ticket("uid-a")))
    assert free(state) == 8
    from bones.extender_world import KEY

    for uid in state.use_keys([KEY]):
        state.verify_again(uid)
    assert free(state) == 6


NODES = [f"n{number}" for number in range(3)]
DEMANDS = st.one_of(st.none(), st.just({}), st.integers(1, 4).map(lambda count: {GPU_RESOURCE: count}))


class LedgerMachine(RuleBasedStateMachine):
    """The sums equal what adding up all holds gives."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger((GPU_RESOURCE,))
        self.allocatable: dict[str, int] = {}

    @rule(node=st.sampled_from(NODES), gpus=st.integers(0, 8))
    def set_node(self, node: str, gpus: int) -> None:
        self.ledger.set_node(node, {GPU_RESOURCE: gpus})
        self.allocatable[node] = gpus

    @rule(node=st.sampled_from(NODES))
    def remove_node(self, node: str) -> None:
        self.ledger.remove_node(node)
        self.allocatable.pop(node, None)

    @rule(key=st.integers(0, 5), node=st.sampled_from(NODES), demand=DEMANDS, firm=st.booleans())
    def hold(self, key: int, node: str, demand: dict[str, int] | None, firm: bool) -> None:
        self.ledger.hold(key, Hold(node, demand, firm))

    @rule(key=st.integers(0, 5))
    def drop(self, key: int) -> None:
        self.ledger.drop(key)

    @invariant()
    def sums_are_right(self) -> None:
        held: Counter[str] = Counter()
        firm: Counter[str] = Counter()
        unknown = set()
        for hold in self.ledger.holds.values():
            if hold.demand is None:
                unknown.add(hold.node)
                continue
            held[hold.node] += hold.demand.get(GPU_RESOURCE, 0)
            firm[hold.node] += hold.demand.get(GPU_RESOURCE, 0) if hold.is_firm else 0
        for node in NODES:
            left = self.allocatable.get(node, 0) - held[node]
            assert self.ledger.free(node, GPU_RESOURCE) == left
            has_room = self.ledger.with_room([node], {GPU_RESOURCE: 1}) == [node]
            assert has_room == (left >= 1 and node not in unknown)
            firm_room = self.allocatable.get(node, 0) - firm[node]
            assert self.ledger.has_firm_room(node, {GPU_RESOURCE: 2}) == (firm_room >= 2)


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)

PODS = [f"p{number}" for number in range(4)]
PLANS: list[dict[str, str]] = [{"n0": "0-1", "n1": "2"}, {"n0": "0-1", "n1": "2-3"}, {"n2": "0-3"}]


class StateMachine(RuleBasedStateMachine):
    """What the ledger holds after any history is what the newest pods and gang alone say."""

    def __init__(self) -> None:
        super().__init__()
        self.state = make_state()
        self.ended: Counter[str] = Counter()

    def uid(self, name: str) -> str:
        """Another one once the pod is gone: a uid never comes back."""
        return f"uid-{name}-{self.ended[name]}"

    @rule(
        name=st.sampled_from(PODS),
        slot=st.integers(0, 3),
        plan=st.sampled_from(PLANS),
        kind=st.sampled_from(["plain", "single", "member"]),
        epoch=st.sampled_from(["1-1", "1-2"]),
        bound=st.booleans(),
    )
    def observe_pod(self, name: str, slot: int, plan: dict[str, str], kind: str, epoch: str, bound: bool) -> None:
        tickets: dict[str, Any] = {
            "plain": "",
            "single": make_single_ticket(self.uid(name), "n1"),
            "member": make_ticket(slot, next(iter(plan)), epoch=epoch),
        }
        known = self.state.pods.get(self.uid(name))
        node = known.node if known and known.node else ("n0" if bound else "")
        self.state.observe_pod(make_pod(name, uid=self.uid(name), gpus=2, ticket=tickets[kind], node=node))

    @rule(name=st.sampled_from(PODS))
    def forget_pod(self, name: str) -> None:
        self.state.forget_pod(make_pod(name, uid=self.uid(name)))
        self.ended[name] += 1

    @rule(name=st.sampled_from(PODS), node=st.sampled_from(NODES))
    def begin_bind(self, name: str, node: str) -> None:
        record = self.state.pods.get(self.uid(name))
        if record and not record.is_bound:
            self.state.begin_bind(record, node)

    @rule(name=st.sampled_from(PODS))
    def cancel_bind(self, name: str) -> None:
        self.state.cancel_bind(record_of(make_pod(name, uid=self.uid(name)), (GPU_RESOURCE,)))

    @rule(
        phase=st.sampled_from(list(GangPhase)),
        plan=st.sampled_from(PLANS),
        epoch=st.sampled_from(["1-1", "1-2"]),
    )
    def observe_gang(self, phase: GangPhase, plan: dict[str, str], epoch: str) -> None:
        known = self.state.gangs.get(GANG_ID)
        if known is None or parse_epoch(epoch) >= known.epoch:
            self.state.observe_gang(make_gang(phase, plan=plan, epoch=epoch))

    @rule()
    def forget_gang(self) -> None:
        self.state.forget_gang(make_gang())

    @rule(name=st.sampled_from(NODES))
    def bounce_node(self, name: str) -> None:
        self.state.forget_node(make_node(name))
        self.state.observe_node(make_node(name))

    @invariant()
    def holds_follow_from_the_newest_objects(self) -> None:
        assert dict(self.state.ledger.holds) == self.expected_pods() | self.expected_slots()

    def expected_pods(self) -> dict[Any, Hold]:
        holds: dict[Any, Hold] = {}
        for uid, record in self.state.pods.items():
            ticket = self.state.ticket_of(record)
            if record.node:
                holds[uid] = Hold(record.node, record.demand, is_firm=True)
            elif uid in self.state._in_flight:
                holds[uid] = Hold(self.state._in_flight[uid], record.demand, is_firm=True)
            elif ticket is not None and ticket.gang == f"pod-{uid}":
                holds[uid] = Hold(ticket.node, record.demand, is_firm=False)
        return holds

    def expected_slots(self) -> dict[Any, Hold]:
        gang = self.state.gangs.get(GANG_ID)
        if gang is None or gang.phase not in HOLDING_PHASES:
            return {}
        holds: dict[Any, Hold] = {}
        for slot, placement in gang.placements.items():
            claim = self.state.claims.slot_claim(GANG_ID, gang.epoch, slot)
            pod = self.state.pods.get(claim.uid) if claim else None
            if claim and (claim.is_spent or claim.uid in self.state._in_flight):
                continue
            if gang.phase is not GangPhase.RUNNING or pod is not None:
                holds[GANG_ID, slot] = Hold(placement.node, pod.demand if pod else None, is_firm=False)
        return holds


TestStateMachine = StateMachine.TestCase
TestStateMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
