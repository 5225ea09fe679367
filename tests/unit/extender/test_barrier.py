"""The barrier: tables for each rule, and a state machine for what holds whatever happens in whatever order."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from muster_api.phases import GangPhase
from muster_api.plans import Placement
from muster_extender.barrier import (
    GANG_MOVED_ON,
    POD_GONE,
    SUPERSEDED_CALL,
    TOO_OLD,
    Abort,
    Action,
    Answer,
    Barrier,
    BarrierRules,
    Bind,
    Call,
    Commit,
    GangFacts,
    Outcome,
    Stage,
)

RULES = BarrierRules(arrival_timeout=30, grace=1, slack=5, retry_after=0.2)
LIFETIME = 119.0


def make_facts(
    phase: GangPhase = GangPhase.RELEASED, *, minimum: int = 3, reserved: int = 3, may_commit: bool | None = None
) -> GangFacts:
    allowed = phase is GangPhase.RELEASED if may_commit is None else may_commit
    return GangFacts(phase, allowed, minimum, {slot: Placement(f"n{slot}", "s") for slot in range(reserved)})


def make_call(number: int, slot: int | None = None, *, now: float = 0.0) -> Call:
    slot = number if slot is None else slot
    return Call(number, f"uid-{slot}", slot, f"n{slot}", now + LIFETIME)


class World:
    """A barrier with nodes that can fail."""

    def __init__(self, facts: GangFacts | None = None, rate: float = 100.0) -> None:
        self.unusable: set[str] = set()
        self.barrier = Barrier(
            RULES,
            facts or make_facts(),
            is_usable=lambda node: node not in self.unusable,
            bind_rate=lambda: rate,
        )

    def arrive(self, *slots: int, now: float = 0.0) -> list[Action]:
        return [action for slot in slots for action in self.barrier.arrive(make_call(slot, now=now), now)]


def test_the_last_member_opens_the_barrier_and_only_the_write_lets_them_bind() -> None:
    world = World()
    assert world.arrive(0, 1) == []
    assert world.arrive(2) == [Commit(3)]
    assert world.barrier.settle(Outcome.WRITTEN, 1.0) == [Bind(0), Bind(1), Bind(2)]


def test_a_member_that_arrives_during_the_write_binds_with_the_others() -> None:
    world = World(make_facts(minimum=2, reserved=2))
    assert world.arrive(0, 1) == [Commit(2)]
    assert world.arrive(2) == []
    assert world.barrier.settle(Outcome.WRITTEN, 1.0) == [Bind(0), Bind(1), Bind(2)]


def test_a_late_member_of_an_open_barrier_binds_at_once() -> None:
    world = World(make_facts(minimum=1, reserved=1))
    world.arrive(0)
    world.barrier.settle(Outcome.WRITTEN, 1.0)
    assert world.arrive(5) == [Bind(5)]


def test_a_newer_call_for_the_same_pod_replaces_the_older_one() -> None:
    world = World()
    world.arrive(0)
    assert world.barrier.arrive(make_call(7, 0), 1.0) == [Answer(0, SUPERSEDED_CALL)]
    world.barrier.leave("uid-0", 0)
    assert world.barrier.parked == 1


def test_a_closed_socket_leaves_and_does_not_count() -> None:
    world = World()
    world.arrive(0, 1)
    world.barrier.leave("uid-0", 0)
    assert world.arrive(2) == []
    assert world.barrier.parked == 2


def test_an_elastic_gang_with_its_minimum_waits_a_moment_for_more() -> None:
    world = World(make_facts(minimum=2, reserved=3))
    assert world.arrive(0, 1) == []
    assert world.barrier.observe(make_facts(minimum=2, reserved=3), 0.9) == []
    assert world.barrier.observe(make_facts(minimum=2, reserved=3), 1.0) == [Commit(2)]


def test_a_node_that_is_not_usable_holds_the_commit_and_in_the_end_aborts() -> None:
    world = World()
    world.unusable.add("n1")
    assert world.arrive(0, 1, 2) == []
    [abort] = world.barrier.observe(make_facts(), 30.0)
    assert isinstance(abort, Abort)
    assert abort.node == "n1"
    assert world.barrier.settle(Outcome.WRITTEN, 31.0) == [Answer(n, GANG_MOVED_ON) for n in (0, 1, 2)]


def test_a_node_that_comes_back_lets_the_gang_go_on() -> None:
    world = World()
    world.unusable.add("n1")
    world.arrive(0, 1, 2)
    world.unusable.clear()
    assert world.barrier.observe(make_facts(), 2.0) == [Commit(3)]


def test_nobody_comes_any_more_and_the_reservation_is_given_back() -> None:
    world = World()
    world.arrive(0, now=0.0)
    world.arrive(2, now=10.0)
    assert world.barrier.observe(make_facts(), 39.9) == []
    [abort] = world.barrier.observe(make_facts(), 40.0)
    assert isinstance(abort, Abort)
    assert abort.message == "2 of 3 members at the barrier"
    assert abort.node == "n1"


def test_the_deadline_counts_from_when_a_commit_became_possible() -> None:
    reserved = make_facts(GangPhase.RESERVED)
    world = World(reserved)
    world.arrive(0, 1)
    assert world.barrier.observe(reserved, 60.0) == []
    assert world.barrier.observe(make_facts(), 70.0) == []
    assert world.barrier.observe(make_facts(), 99.0) == []
    assert isinstance(world.barrier.observe(make_facts(), 100.0)[0], Abort)


def test_a_call_too_old_to_bind_the_whole_gang_comes_back_and_nothing_is_aborted() -> None:
    facts = make_facts(GangPhase.RESERVED, reserved=400)
    world = World(facts)
    world.arrive(0, now=0.0)
    world.arrive(1, now=50.0)
    # 400 members at 100 a second and 5 s of slack: 9 s have to be left.
    assert world.barrier.observe(facts, LIFETIME - 9.5) == []
    assert world.barrier.observe(facts, LIFETIME - 8.5) == [Answer(0, TOO_OLD)]
    assert world.barrier.parked == 1


def test_a_slow_moment_does_not_keep_a_gang_from_ever_being_committed() -> None:
    world = World(make_facts(minimum=3, reserved=3), rate=0.01)
    assert world.arrive(0, 1, 2) == [Commit(3)]


def test_a_parked_pod_that_is_deleted_is_answered_and_does_not_count() -> None:
    world = World()
    world.arrive(0, 1)
    assert world.barrier.lose("uid-1", 1.0) == [Answer(1, POD_GONE)]
    assert world.arrive(2) == []


def test_a_pod_deleted_during_a_write_that_fails_is_answered_then() -> None:
    world = World()
    world.arrive(0, 1, 2)
    assert world.barrier.lose("uid-1", 1.0) == []
    assert world.barrier.settle(Outcome.NOT_WRITTEN, 1.0) == [Answer(1, POD_GONE)]
    assert world.barrier.observe(make_facts(), 2.0) == []


def test_a_failed_write_is_tried_again_after_a_moment() -> None:
    world = World()
    world.arrive(0, 1, 2)
    assert world.barrier.settle(Outcome.NOT_WRITTEN, 1.0) == []
    assert world.barrier.observe(make_facts(), 1.1) == []
    assert world.barrier.observe(make_facts(), 1.2) == [Commit(3)]


def test_a_commit_by_another_extender_opens_this_barrier_too() -> None:
    world = World()
    world.arrive(0, 1)
    assert world.barrier.observe(make_facts(GangPhase.COMMITTED), 1.0) == [Bind(0), Bind(1)]


def test_an_abort_by_the_controller_sends_everybody_back() -> None:
    world = World()
    world.arrive(0, 1)
    assert world.barrier.observe(None, 1.0) == [Answer(0, GANG_MOVED_ON), Answer(1, GANG_MOVED_ON)]
    assert world.barrier.stage is Stage.CLOSED


def test_nothing_is_answered_while_the_outcome_of_a_write_is_unknown() -> None:
    world = World()
    world.arrive(0, 1, 2)
    assert world.barrier.observe(None, 1.0) == []
    assert world.barrier.observe(make_facts(GangPhase.PENDING), 500.0) == []
    assert world.barrier.settle(Outcome.GANG_GONE, 501.0) == [Answer(n, GANG_MOVED_ON) for n in (0, 1, 2)]


SLOTS = st.integers(min_value=0, max_value=4)


class BarrierMachine(RuleBasedStateMachine):
    """Random histories against a small model: which calls are open, which were answered, what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(make_facts(minimum=3, reserved=5))
        self.now = 0.0
        self.numbers = 0
        self.open: dict[int, Call] = {}
        self.newest: dict[str, int] = {}
        self.closed: set[int] = set()
        self.lost: set[str] = set()
        self.committed = False
        self.phase: GangPhase | None = GangPhase.RELEASED
        self.writing: Commit | Abort | None = None

    def take(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Answer(call, _):
                    self.answer(call)
                case Bind(call):
                    assert self.committed, "a binding before the commit"
                    self.answer(call)
                case Commit(parked):
                    self.check_commit(parked)
                    self.writing = action
                case Abort():
                    assert self.writing is None
                    self.writing = action

    def answer(self, number: int) -> None:
        assert number in self.open, "answered twice, or after its socket closed"
        call = self.open.pop(number)
        if self.newest.get(call.uid) == number:
            del self.newest[call.uid]

    def check_commit(self, parked: int) -> None:
        assert self.writing is None and not self.committed
        assert self.phase is GangPhase.RELEASED
        counted = [self.open[number] for number in self.newest.values()]
        assert parked == len(counted) >= 3
        assert len({call.slot for call in counted}) == parked
        for call in counted:
            assert call.number not in self.closed, "a dead socket was counted"
            assert call.uid not in self.lost, "a deleted pod was counted"
            assert call.node not in self.world.unusable, "a lost node was counted"
            assert call.expires - self.now >= 5, "no time left"

    def facts(self) -> GangFacts | None:
        return make_facts(self.phase, minimum=3, reserved=5) if self.phase is not None else None

    @rule(slot=SLOTS)
    def arrive(self, slot: int) -> None:
        self.numbers += 1
        call = make_call(self.numbers, slot, now=self.now)
        self.open[call.number] = call
        self.lost.discard(call.uid)
        older, self.newest[call.uid] = self.newest.get(call.uid), call.number
        actions = self.world.barrier.arrive(call, self.now)
        if older is not None:
            assert actions[0] == Answer(older, SUPERSEDED_CALL)
        self.take(actions)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def close_socket(self, data: Any) -> None:
        number = data.draw(st.sampled_from(sorted(self.open)))
        call = self.open.pop(number)
        self.closed.add(number)
        if self.newest.get(call.uid) == number:
            del self.newest[call.uid]
        self.world.barrier.leave(call.uid, number)

    @rule(slot=SLOTS)
    def delete_pod(self, slot: int) -> None:
        uid = f"uid-{slot}"
        if uid in self.newest:
            self.lost.add(uid)
        self.take(self.world.barrier.lose(uid, self.now))

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 5.0, 31.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.world.barrier.observe(self.facts(), self.now))

    @rule(slot=SLOTS)
    def break_or_mend_node(self, slot: int) -> None:
        self.world.unusable ^= {f"n{slot}"}

    @precondition(lambda self: self.writing is not None)
    @rule(outcome=st.sampled_from(list(Outcome)))
    def settle(self, outcome: Outcome) -> None:
        writing, self.writing = self.writing, None
        if outcome is Outcome.WRITTEN and isinstance(writing, Commit):
            self.committed, self.phase = True, GangPhase.COMMITTED
        elif outcome is not Outcome.NOT_WRITTEN:
            self.phase = None
        self.take(self.world.barrier.settle(outcome, self.now))
        self.take(self.world.barrier.observe(self.facts(), self.now))

    @precondition(lambda self: self.phase is GangPhase.RELEASED and self.writing is None)
    @rule()
    def abort_by_the_controller(self) -> None:
        self.phase = None
        self.take(self.world.barrier.observe(None, self.now))

    @invariant()
    def parked_are_exactly_the_open_calls(self) -> None:
        assert self.world.barrier.parked == len(self.newest) == len(self.open)

    @invariant()
    def nobody_waits_once_it_is_decided(self) -> None:
        if self.world.barrier.stage in (Stage.OPEN, Stage.CLOSED):
            assert not self.open


TestBarrierMachine = BarrierMachine.TestCase
TestBarrierMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
