"""Whole gangs or nothing, best first, the same plan for the same input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bones.planning import cluster, constrained, gang, members, only_explanation, planned, planner_node, spots
from muster_api.gangs import Abort
from muster_api.objects import Taint
from muster_api.reasons import Reason
from muster_planner.policy import Policy, Strategy
from muster_planner.request import GangRequest
from muster_planner.retry import Exclusion, Lesson
from muster_planner.snapshot import Snapshot


def eights(count: int, taken: dict[str, int] | None = None) -> Snapshot:
    """Nodes n0, n1, ... of eight GPUs."""
    return cluster([planner_node(f"n{number}") for number in range(count)], taken)


def test_a_gang_that_fits_gets_all_its_places() -> None:
    plan = planned(eights(3), gang("g", members(3, gpus=8)))
    (reservation,) = plan.reservations
    assert spots(reservation) == {"n0": 1, "n1": 1, "n2": 1}
    assert plan.explanations == ()


def test_a_gang_that_does_not_fit_gets_nothing_and_later_ones_may_go() -> None:
    plan = planned(eights(2, {"n0": 1}), gang("big", members(2, gpus=8), priority=90), gang("small", members(1)))
    assert [reservation.key for reservation in plan.reservations] == [("team", "small")]
    assert only_explanation(plan).key == ("team", "big")


ORDER = [
    pytest.param({"priority": 60}, {"priority": 50}, id="higher priority goes first"),
    pytest.param({"created": "2026-01-01T00:00:00Z"}, {"created": "2026-01-01T00:00:01Z"}, id="then the older"),
    pytest.param({"uid": "a"}, {"uid": "b"}, id="then the smaller uid"),
    pytest.param(
        {"priority": 0}, {"priority": 100, "taught": Lesson(quarantined=True)}, id="quarantine yields to any priority"
    ),
]


@pytest.mark.parametrize(("first", "second"), ORDER)
@pytest.mark.parametrize("backwards", [False, True], ids=["given in order", "given in reverse"])
def test_only_the_first_in_order_gets_the_last_room(
    first: dict[str, Any], second: dict[str, Any], backwards: bool
) -> None:
    requests = [make("first", first), make("second", second)]
    plan = planned(eights(1), *(requests[::-1] if backwards else requests))
    assert [reservation.key[1] for reservation in plan.reservations] == ["first"]


def make(name: str, overrides: dict[str, Any]) -> GangRequest:
    return replace(gang(name, members(1, gpus=8)), **overrides)


ELASTIC = [
    pytest.param(10, 4, 8, id="as many as fit when not all do"),
    pytest.param(6, 4, 6, id="all of them when there is room"),
    pytest.param(12, 9, None, id="nothing below the minimum"),
]


@pytest.mark.parametrize(("wanted", "minimum", "expected"), ELASTIC)
def test_an_elastic_gang_gets(wanted: int, minimum: int, expected: int | None) -> None:
    plan = planned(eights(1), gang("g", members(wanted), minimum=minimum))
    assert [reservation.members for reservation in plan.reservations] == ([] if expected is None else [expected])


def test_an_elastic_gang_of_several_shapes_drops_the_same_surplus_every_time() -> None:
    request = gang("g", members(2, gpus=4, shape="large"), members(4, gpus=2, shape="small"), minimum=4)
    (reservation,) = planned(eights(1), request).reservations
    assert {group.shape: group.members for group in reservation.groups} == {"small": 4}
    (roomier,) = planned(eights(1), gang("g", *request.groups, minimum=3)).reservations
    assert roomier.members == 4


def test_a_launcher_without_gpus_and_its_workers_go_together() -> None:
    nodes = [planner_node("cpu", gpus=0), planner_node("gpu")]
    request = gang("g", members(1, gpus=0, shape="launcher"), members(4, shape="worker"))
    (reservation,) = planned(cluster(nodes), request).reservations
    assert {group.shape: [run.node for run in group.runs] for group in reservation.groups} == {
        "launcher": ["cpu"],
        "worker": ["gpu"],
    }


def test_large_members_are_placed_before_small_ones_take_their_nodes() -> None:
    request = gang("g", members(8, gpus=1), members(1, gpus=8))
    assert planned(eights(2), request).reservations[0].members == 9


def test_members_that_can_go_to_few_nodes_are_not_crowded_out_by_larger_ones() -> None:
    nodes = [planner_node("n0", labels={"disk": "fast"}), planner_node("n1")]
    picky = members(1, gpus=4, where=constrained({"disk": "fast"}), shape="picky")
    (reservation,) = planned(cluster(nodes), gang("g", members(1, gpus=8, shape="large"), picky)).reservations
    assert dict(reservation.places()) == {"large": "n1", "picky": "n0"}


def test_places_follow_the_order_of_the_groups_and_of_node_names() -> None:
    request = gang("g", members(1, gpus=1, shape="b"), members(2, gpus=8, shape="a"))
    (reservation,) = planned(eights(3), request).reservations
    assert list(reservation.places()) == [("b", "n2"), ("a", "n0"), ("a", "n1")]


def test_room_that_others_have_overdrawn_is_no_room() -> None:
    assert planned(eights(1, {"n0": 9}), gang("g", members(1, gpus=1))).reservations == ()


def test_overdrawn_cpus_do_not_matter_to_who_asks_for_none() -> None:
    snapshot = eights(1)
    crowd = planned(snapshot, gang("crowd", members(1, gpus=0, cpu=64000))).reservations[0]
    crowded = snapshot.with_gang(crowd).with_gang(crowd)
    assert len(planned(crowded, gang("g", members(1, cpu=0))).reservations) == 1


def test_a_node_the_gang_failed_on_is_avoided_until_its_time_is_over() -> None:
    request = gang("g", members(1), taught=Lesson(excluded=(Exclusion("n0", 10.0),)))
    assert spots(planned(eights(2), request, now=9.0).reservations[0]) == {"n1": 1}
    assert spots(planned(eights(2), request, now=10.0).reservations[0]) == {"n0": 1}


def test_a_gang_that_backs_off_waits_and_the_plan_says_until_when() -> None:
    lesson = Lesson(1, 1, 30.0, 2.0, last=Abort(reason="BarrierTimeout"))
    plan = planned(eights(1), gang("g", members(1), taught=lesson), now=29.0)
    assert (only_explanation(plan).reason, plan.retry_at) == (Reason.BACKING_OFF, 30.0)
    assert planned(eights(1), gang("g", members(1), taught=lesson), now=30.0).explanations == ()


def test_a_gang_that_is_to_grow_asks_for_its_further_members_alone() -> None:
    plan = planned(eights(1, {"n0": 6}), gang("g", members(4), minimum=1))
    assert plan.reservations[0].members == 2


@pytest.mark.parametrize("strategy", Strategy)
def test_every_strategy_places_what_fits_exactly(strategy: Strategy) -> None:
    plan = planned(eights(4), gang("g", members(32)), policy=Policy(strategy=strategy))
    assert spots(plan.reservations[0]) == {f"n{number}": 8 for number in range(4)}


def test_five_thousand_members_go_onto_a_thousand_nodes() -> None:
    (reservation,) = planned(eights(1000), gang("g", members(5000))).reservations
    assert (reservation.members, len(spots(reservation))) == (5000, 625)


def test_no_nodes_no_gangs_no_members() -> None:
    assert planned(cluster([])).reservations == ()
    assert only_explanation(planned(cluster([]), gang("g", members(1)))).reason == Reason.NO_MATCHING_NODE
    assert only_explanation(planned(eights(1), gang("g"))).reason == Reason.WAITING_FOR_MEMBERS


def test_a_taint_keeps_a_gang_off_the_only_nodes_with_room() -> None:
    nodes = [planner_node("n0", taints=[Taint(key="spot", effect="NoSchedule")]), planner_node("n1", gpus=1)]
    assert planned(cluster(nodes), gang("g", members(2))).reservations == ()


@pytest.mark.parametrize("memory", [2**62, 2**63 - 1, 2**63, 2**64 * 1000])
def test_an_absurd_demand_waits_like_any_other_and_stops_nobody(memory: int) -> None:
    plan = planned(eights(2), gang("absurd", members(3, memory=memory), priority=90), gang("g", members(4)))
    assert [reservation.uid for reservation in plan.reservations] == ["uid-g"]
    assert [explanation.uid for explanation in plan.explanations] == ["uid-absurd"]
