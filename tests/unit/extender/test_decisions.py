"""What filter, bind, prioritize and preempt decide, case by case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bones.extender_world import (
    make_gang,
    make_namespace,
    make_node,
    make_pod,
    make_single_ticket,
    make_state,
    make_ticket,
)
from muster_api import answers
from muster_api.gangs import Fence, Gang
from muster_api.names import GPU_RESOURCE
from muster_api.objects import Pod
from muster_api.phases import GangPhase
from muster_extender import admission, filtering, routing
from muster_extender.filtering import Accept, FilterDecision, Reject, RetryError, Room, decide_filter
from muster_extender.fuse import Fuse, FuseRules
from muster_extender.preempting import allowed_victims
from muster_extender.protocol import ExtenderBindingArgs, MetaPod, MetaVictims
from muster_extender.routing import AlreadyBound, BindNow, Park, Refuse, decide_bind
from muster_extender.scoring import Strategy, score_nodes
from muster_extender.state import ClusterState


def filter_pod(pod: Pod, state: ClusterState) -> FilterDecision:
    return decide_filter(state.show(pod), state)


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (GangPhase.PENDING, RetryError(admission.NOT_YET_KNOWN)),
        (GangPhase.RESERVED, Accept("n0")),
        (GangPhase.RELEASED, Accept("n0")),
        (GangPhase.COMMITTED, Accept("n0")),
        (GangPhase.RUNNING, Accept("n0")),
        (GangPhase.EVICTING, Reject(answers.GANG_OVER)),
        (GangPhase.SUCCEEDED, Reject(answers.GANG_OVER)),
        (GangPhase.FAILED, Reject(answers.GANG_OVER)),
    ],
)
def test_a_ticket_counts_in_the_phases_that_hold_room(phase: GangPhase, expected: FilterDecision) -> None:
    state = make_state()
    state.observe_gang(make_gang(phase))
    assert filter_pod(make_pod("a", ticket=make_ticket(0)), state) == expected


TICKETS: dict[str, tuple[Callable[[], Pod], FilterDecision]] = {
    "no ticket": (lambda: make_pod("a"), Reject(answers.NOT_RELEASED)),
    "an unmarked pod without a ticket": (lambda: make_pod("a", markers=False), Reject(answers.NOT_RELEASED)),
    "a gang's CPU-only member": (
        lambda: make_pod("a", gpus=0, gang="g", ticket=make_ticket(1)),
        Accept("n0"),
    ),
    "another key": (lambda: make_pod("a", ticket=make_ticket(0, key=b"forged")), Reject(admission.NOT_SIGNED)),
    "nonsense": (lambda: make_pod("a", ticket="v1.x"), Reject(admission.NOT_SIGNED)),
    "signed for another namespace": (
        lambda: make_pod("a", ticket=make_ticket(0, namespace="other")),
        Reject(admission.NOT_SIGNED),
    ),
    "an earlier epoch": (lambda: make_pod("a", ticket=make_ticket(0, epoch="1-0")), Reject(answers.SUPERSEDED)),
    "a later epoch than our cache": (
        lambda: make_pod("a", ticket=make_ticket(0, epoch="1-2")),
        RetryError(admission.NOT_YET_KNOWN),
    ),
    "a later term than our cache": (
        lambda: make_pod("a", ticket=make_ticket(0, epoch="2-1")),
        RetryError(admission.NOT_YET_KNOWN),
    ),
    "a slot that our plan does not have yet": (
        lambda: make_pod("a", ticket=make_ticket(7)),
        RetryError(admission.NOT_YET_KNOWN),
    ),
    "another node than the plan's": (lambda: make_pod("a", ticket=make_ticket(0, "n1")), Reject(answers.SUPERSEDED)),
    "a gang that is not known": (
        lambda: make_pod("a", ticket=make_ticket(0, gang_id="b" * 16)),
        RetryError(admission.NOT_YET_KNOWN),
    ),
    "a member that would bind past the barrier": (
        lambda: make_pod("a", ticket=make_ticket(0), markers=False),
        Reject(admission.NO_BIND_MARKER),
    ),
    "a single pod": (lambda: make_pod("a", ticket=make_single_ticket("uid-a", "n2")), Accept("n2")),
    "a single pod from before the label, without markers": (
        lambda: make_pod("a", ticket=make_single_ticket("uid-a", "n2"), markers=False),
        Accept("n2"),
    ),
    "a single ticket on a pod that was put into a gang later": (
        lambda: make_pod("a", gang="g", ticket=make_single_ticket("uid-a")),
        Reject(admission.SINGLE_IN_GANG),
    ),
    "a single ticket on another pod": (
        lambda: make_pod("a", ticket=make_single_ticket("uid-b")),
        Reject(admission.NOT_SIGNED),
    ),
    "a single ticket of an old term": (
        lambda: make_pod("a", ticket=make_single_ticket("uid-a", fence="0-5")),
        Reject(answers.SUPERSEDED),
    ),
    "a single ticket of a cycle not seen yet": (
        lambda: make_pod("a", ticket=make_single_ticket("uid-a", fence="1-10")),
        RetryError(admission.NOT_YET_KNOWN),
    ),
    "a native pod group": (
        lambda: make_pod("a", gpus=2, schedulingGroup={"podGroupName": "x"}),
        Room({GPU_RESOURCE: 2}),
    ),
    "an unmanaged namespace": (lambda: make_pod("a", gpus=2, namespace="free"), Room({GPU_RESOURCE: 2})),
    "an unmanaged namespace with a forged ticket": (
        lambda: make_pod("a", namespace="free", ticket=make_ticket(0)),
        Room({GPU_RESOURCE: 1}),
    ),
}


@pytest.mark.parametrize("case", TICKETS)
def test_filter_judges_a_ticket_by_the_durable_plan(case: str) -> None:
    build, expected = TICKETS[case]
    state = make_state()
    state.observe_gang(make_gang())
    state.observe_namespace(make_namespace("free", managed=False))
    assert filter_pod(build(), state) == expected


def free_pod(ticket: str, **changes: Any) -> Pod:
    return make_pod("a", namespace="free", ticket=ticket, **changes)


FREE_TICKETS: dict[str, tuple[Pod, FilterDecision]] = {
    "a gang's": (free_pod(make_ticket(0, namespace="free")), Accept("n0")),
    "a gang's, for a member without the bind marker": (
        free_pod(make_ticket(0, namespace="free"), markers=False),
        Reject(admission.NO_BIND_MARKER),
    ),
    "a single pod's": (free_pod(make_single_ticket("uid-a", "n2", namespace="free")), Accept("n2")),
    "a single pod's of an old term": (
        free_pod(make_single_ticket("uid-a", fence="0-5", namespace="free")),
        Room({GPU_RESOURCE: 1}),
    ),
    "none, for a marked member": (free_pod("", gang="g"), Reject(answers.NOT_RELEASED)),
    "none, for a labelled pod that Muster has never marked": (
        free_pod("", gang="g", markers=False),
        Room({GPU_RESOURCE: 1}),
    ),
}


@pytest.mark.parametrize("case", FREE_TICKETS)
def test_a_ticket_counts_in_a_namespace_that_is_not_known_as_managed(case: str) -> None:
    pod, expected = FREE_TICKETS[case]
    state = make_state()
    state.observe_gang(make_gang(namespace="free"))
    assert filter_pod(pod, state) == expected


def test_without_keys_no_ticket_is_taken_for_a_forged_one() -> None:
    state = make_state()
    state.verifier.use_keys(())
    decision = filter_pod(free_pod(make_ticket(0, namespace="free")), state)
    assert decision == RetryError(admission.NOT_YET_KNOWN)


def gang_reserved(term: int, seq: int) -> Gang:
    return make_gang(GangPhase.RESERVED, reservation=Fence(term=term, seq=seq))


@pytest.mark.parametrize(
    ("gang", "expected"),
    [
        (gang_reserved(1, 9), Accept("n0")),
        (gang_reserved(1, 10), RetryError(admission.NOT_COVERED)),
        (gang_reserved(0, 1), RetryError(admission.NOT_COVERED)),
        (gang_reserved(2, 0), RetryError(admission.NOT_COVERED)),
    ],
)
def test_only_covered_reservations_count(gang: Gang, expected: FilterDecision) -> None:
    state = make_state(fence=Fence(term=1, seq=9))
    state.observe_gang(gang)
    assert filter_pod(make_pod("a", ticket=make_ticket(0)), state) == expected


def test_without_a_fence_nothing_is_covered() -> None:
    state = make_state()
    state.fence = None
    state.observe_gang(make_gang())
    assert filter_pod(make_pod("a", ticket=make_ticket(0)), state) == RetryError(admission.NOT_COVERED)


def test_a_slot_shown_first_at_filter_is_taken() -> None:
    state = make_state()
    state.observe_gang(make_gang())
    state.take_slot(state.show(make_pod("a", ticket=make_ticket(0))))
    assert filter_pod(make_pod("copy", ticket=make_ticket(0)), state) == Reject(admission.SLOT_TAKEN)


def test_messages_say_nothing_that_changes() -> None:
    for text in (*vars(admission).values(), *vars(filtering).values()):
        assert not isinstance(text, str) or not any(char.isdigit() for char in text) or text.startswith(("/", "from"))


def bind(state: ClusterState, pod: str = "a", node: str = "n0") -> routing.BindRoute:
    return decide_bind(ExtenderBindingArgs(pod, "team", f"uid-{pod}", node), state)


def test_a_member_parks_until_its_gang_is_committed() -> None:
    state = make_state()
    state.observe_pod(make_pod("a", ticket=make_ticket(0)))
    state.observe_gang(make_gang())
    assert isinstance(bind(state), Park)
    state.observe_gang(make_gang(GangPhase.COMMITTED))
    assert isinstance(bind(state), BindNow)


def test_a_member_parks_although_its_namespace_is_not_managed_any_more() -> None:
    state = make_state()
    state.observe_namespace(make_namespace("team", managed=False))
    state.observe_pod(make_pod("a", ticket=make_ticket(0)))
    state.observe_gang(make_gang())
    assert isinstance(bind(state), Park)


def test_bind_refuses_what_filter_would_refuse() -> None:
    state = make_state()
    assert bind(state) == Refuse(routing.UNKNOWN_POD)
    state.observe_pod(make_pod("a"))
    assert bind(state) == Refuse(answers.NOT_RELEASED)
    state.observe_pod(make_pod("b", ticket=make_single_ticket("uid-b")))
    assert bind(state, "b", "n1") == Refuse(routing.OTHER_NODE)
    assert isinstance(bind(state, "b"), BindNow)


def test_bind_uses_the_ticket_that_filter_was_shown_when_our_watch_is_behind() -> None:
    state = make_state()
    state.observe_gang(make_gang(epoch="1-2"))
    state.observe_pod(make_pod("a", ticket=make_ticket(0, epoch="1-1")))
    assert bind(state) == Refuse(answers.SUPERSEDED)
    state.show(make_pod("a", ticket=make_ticket(0, epoch="1-2")))
    assert isinstance(bind(state), Park)


def test_a_repeated_bind_of_a_bound_pod_succeeds_on_the_same_node_only() -> None:
    state = make_state()
    state.observe_pod(make_pod("a", node="n0"))
    assert bind(state) == AlreadyBound()
    assert bind(state, node="n1") == Refuse(routing.BOUND_ELSEWHERE)


def test_a_single_pod_is_not_bound_onto_gpus_that_others_were_bound_to() -> None:
    state = make_state(gpus=2)
    state.observe_pod(make_pod("a", gpus=2, ticket=make_single_ticket("uid-a")))
    state.observe_pod(make_pod("other", gpus=1, node="n0"))
    assert bind(state) == Refuse(routing.NO_ROOM_LEFT)


def test_an_unmanaged_pod_is_not_bound_onto_gpus_that_are_promised() -> None:
    state = make_state(gpus=2)
    state.observe_namespace(make_namespace("team", managed=False))
    state.observe_pod(make_pod("a", gpus=2))
    assert isinstance(bind(state), BindNow)
    state.observe_pod(make_pod("b", gpus=1, ticket=make_single_ticket("uid-b")))
    assert bind(state) == Refuse(routing.NOT_FREE)


def test_a_pod_does_not_stand_in_its_own_way() -> None:
    state = make_state(gpus=2)
    state.observe_pod(make_pod("a", gpus=2, ticket=make_single_ticket("uid-a")))
    state.observe_pod(make_pod("b", gpus=2, namespace="free"))
    state.begin_bind(state.pods["uid-a"], "n0")
    assert isinstance(bind(state), BindNow)
    state.begin_bind(state.pods["uid-b"], "n1")
    free = decide_bind(ExtenderBindingArgs("b", "free", "uid-b", "n1"), state)
    assert isinstance(free, BindNow)


def test_a_deleted_pod_is_not_bound() -> None:
    state = make_state()
    state.observe_pod(make_pod("a", ticket=make_single_ticket("uid-a"), deleting=True))
    assert bind(state) == Refuse(routing.BEING_DELETED)


def test_the_fuse_blows_when_rejections_come_faster_than_any_back_off() -> None:
    fuse = Fuse(FuseRules(most_rejections=3, window=2.0, blown_for=10.0))
    assert [fuse.reject("a", 0.1 * n) for n in range(5)] == [False, False, False, True, True]
    assert fuse.reject("a", 9.0)
    assert not fuse.reject("a", 11.0)
    assert not fuse.reject("b", 0.5)
    assert not any(fuse.reject("slow", 1.0 * n) for n in range(20))


def victims(*uids: str) -> MetaVictims:
    return MetaVictims(tuple(MetaPod(uid) for uid in uids))


def test_preemption_spares_what_is_musters() -> None:
    state = make_state()
    state.observe_pod(make_pod("member", gang="g", gpus=0, node="n0"))
    state.observe_pod(make_pod("single", node="n0"))
    state.observe_pod(make_pod("web", gpus=0, markers=False, node="n0"))
    state.observe_pod(make_pod("free", namespace="free", node="n0"))
    candidates = {
        "n0": victims("uid-member", "uid-web"),
        "n1": victims("uid-single"),
        "n2": victims("uid-web", "uid-free"),
        "n3": victims(),
        "n4": MetaVictims(None),
        "n5": victims("uid-unknown"),
    }
    assert list(allowed_victims(candidates, state)) == ["n2"]


def scores(strategy: Strategy, *, seed: int = 0) -> dict[str, int]:
    state = make_state(nodes=3)
    state.observe_node(make_node("n2", labels={"gpu-orchestrator/cheap-node": "true"}))
    for node, gpus in (("n0", 6), ("n2", 4)):
        state.observe_pod(make_pod(f"on-{node}", gpus=gpus, node=node))
    names = ["n0", "n1", "n2"]
    found = score_nodes(strategy, names, (GPU_RESOURCE,), "uid", state.ledger, state.nodes, seed)
    return {one.host: one.score for one in found}


def test_nodes_are_scored_by_strategy() -> None:
    assert scores(Strategy.BINPACK) == {"n0": 8, "n1": 0, "n2": 5}
    assert scores(Strategy.LEAST_LOADED) == {"n0": 2, "n1": 10, "n2": 5}
    assert scores(Strategy.COST_OPTIMIZED) == {"n0": 1, "n1": 4, "n2": 8}
    assert scores(Strategy.RANDOM) == scores(Strategy.RANDOM)
    assert scores(Strategy.RANDOM) != scores(Strategy.RANDOM, seed=1)
