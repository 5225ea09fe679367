"""The room table counts every taker once, whatever order events come in."""

from __future__ import annotations

import pytest

from bones.planning import GPU, planner_node
from muster_planner.capacity import Capacity, snapshot_of
from muster_planner.reservation import GroupPlacement, NodeRun, Reservation
from muster_planner.snapshot import Snapshot


def free_gpus(capacity: Capacity, node: str) -> int:
    return free_in(capacity.freeze(), node)


def free_in(snapshot: Snapshot, node: str, resource: str = GPU) -> int:
    column = snapshot.column(resource)
    assert column is not None
    return int(snapshot.free[snapshot.nodes.index[node], column])


def capacity_of(*names: str) -> Capacity:
    capacity = Capacity()
    for name in names:
        capacity.upsert_node(planner_node(name))
    return capacity


def test_taking_twice_under_one_key_counts_once() -> None:
    capacity = capacity_of("a")
    assert capacity.take("a", "pod-1", {GPU: 2})
    assert not capacity.take("a", "pod-1", {GPU: 2})
    assert free_gpus(capacity, "a") == 6


def test_taking_elsewhere_moves_what_the_key_held() -> None:
    capacity = capacity_of("a", "b")
    capacity.take("a", "pod-1", {GPU: 2})
    capacity.take("b", "pod-1", {GPU: 3})
    assert (free_gpus(capacity, "a"), free_gpus(capacity, "b")) == (8, 5)


def test_giving_from_a_node_the_key_has_left_does_nothing() -> None:
    capacity = capacity_of("a", "b")
    capacity.take("b", "pod-1", {GPU: 3})
    assert not capacity.give("a", "pod-1")
    assert not capacity.give("b", "pod-2")
    assert free_gpus(capacity, "b") == 5
    assert capacity.give("b", "pod-1")
    assert not capacity.give("b", "pod-1")
    assert free_gpus(capacity, "b") == 8


def test_a_reserved_slot_becomes_its_bound_pod_without_being_counted_twice() -> None:
    capacity = capacity_of("a")
    capacity.take("a", ("gang", 0), {GPU: 4})
    assert capacity.rekey(("gang", 0), "pod-1")
    assert free_gpus(capacity, "a") == 4
    assert capacity.holder_node(("gang", 0)) is None
    assert capacity.holder_node("pod-1") == "a"
    assert not capacity.rekey(("gang", 0), "pod-1")


def test_rekeying_onto_a_key_that_holds_room_gives_that_room_back() -> None:
    capacity = capacity_of("a")
    capacity.take("a", ("gang", 0), {GPU: 4})
    capacity.take("a", "pod-1", {GPU: 4})
    capacity.rekey(("gang", 0), "pod-1")
    assert free_gpus(capacity, "a") == 4
    assert list(capacity.keys()) == ["pod-1"]


def test_a_taker_on_an_unknown_node_counts_once_the_node_appears() -> None:
    capacity = Capacity()
    capacity.take("late", "pod-1", {GPU: 5})
    capacity.upsert_node(planner_node("late"))
    assert free_gpus(capacity, "late") == 3


def test_a_node_that_comes_back_still_has_its_takers() -> None:
    capacity = capacity_of("a", "b")
    capacity.take("a", "pod-1", {GPU: 5})
    assert capacity.remove_node("a")
    assert capacity.freeze().nodes.names == ("b",)
    assert not capacity.remove_node("a")
    capacity.upsert_node(planner_node("a"))
    assert free_gpus(capacity, "a") == 3


def test_more_taken_than_offered_shows_as_negative() -> None:
    capacity = capacity_of("a")
    capacity.take("a", "pod-1", {GPU: 9})
    assert free_gpus(capacity, "a") == -1


def test_absurd_amounts_never_wrap_around() -> None:
    capacity = capacity_of("a")
    for number in range(5):
        capacity.take("a", number, {GPU: 2**63 - 1})
    assert free_gpus(capacity, "a") < 0
    for number in range(5):
        capacity.give("a", number)
    assert free_gpus(capacity, "a") == 8


def test_a_frozen_snapshot_never_changes() -> None:
    capacity = capacity_of("a")
    before = capacity.freeze()
    capacity.take("a", "pod-1", {GPU: 1})
    assert free_in(before, "a") == 8
    with pytest.raises(ValueError, match="read-only"):
        before.free[0, 0] = 1


def test_nothing_new_means_the_same_snapshot() -> None:
    capacity = capacity_of("a")
    assert capacity.freeze() is capacity.freeze()
    assert not capacity.upsert_node(planner_node("a"))


def test_masks_outlive_changes_of_room_but_not_of_labels() -> None:
    capacity = capacity_of("a")
    table = capacity.freeze().nodes
    capacity.upsert_node(planner_node("a", gpus=4))
    assert capacity.freeze().nodes is table
    assert free_gpus(capacity, "a") == 4
    capacity.upsert_node(planner_node("a", gpus=4, labels={"zone": "b"}))
    assert capacity.freeze().nodes is not table


def test_a_resource_first_offered_later_gets_its_column() -> None:
    capacity = Capacity()
    capacity.upsert_node(planner_node("a", gpus=0))
    capacity.take("a", "pod-1", {GPU: 1})
    assert capacity.freeze().column(GPU) is None
    capacity.upsert_node(planner_node("b"))
    assert (free_gpus(capacity, "a"), free_gpus(capacity, "b")) == (-1, 8)


def test_nodes_are_in_the_order_of_their_names() -> None:
    assert capacity_of("c", "a", "b").freeze().nodes.names == ("a", "b", "c")


def test_an_empty_cluster_freezes() -> None:
    assert len(Capacity().freeze().nodes) == 0


def test_what_if_views_leave_their_origin_alone() -> None:
    snapshot = snapshot_of([planner_node("a")])
    placement = GroupPlacement("s", ((GPU, 2), ("unknown.example/thing", 1)), (NodeRun("a", 3), NodeRun("gone", 1)))
    reservation = Reservation(("team", "g"), "uid", (placement,))
    taken = snapshot.with_gang(reservation)
    assert (free_in(taken, "a"), free_in(snapshot, "a")) == (2, 8)
    assert free_in(taken.without_gang(reservation), "a") == 8
