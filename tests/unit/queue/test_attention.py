"""What is looked at when: each key once, in time, and a busy one not more often than its size allows."""

from __future__ import annotations

import pytest

from bones.gang_views import make_gang, make_member
from muster_planner.request import Constraints
from muster_planner.reservation import GroupPlacement, NodeRun, Reservation
from muster_planner.retry import NOTHING_LEARNT
from muster_queue.controller.agenda import Agenda
from muster_queue.controller.backlog import Backlog, GangTarget, gang_request, slots_of
from muster_queue.controller.shapes import Shape

SHAPES = {"shape": Shape({"cpu": 1000}, Constraints()), "other": Shape({"cpu": 1}, Constraints())}


def test_a_key_marked_twice_is_taken_once() -> None:
    agenda: Agenda[str] = Agenda()
    assert agenda.mark("a", 1.0)
    assert not agenda.mark("a", 1.0)
    assert agenda.take_due(1.0) == ["a"]
    assert agenda.take_due(9.0) == []


def test_an_earlier_moment_replaces_a_later_one_and_not_the_other_way_round() -> None:
    agenda: Agenda[str] = Agenda()
    agenda.mark_at("a", 5.0)
    assert agenda.mark_at("a", 2.0)
    assert not agenda.mark_at("a", 9.0)
    assert agenda.next_due() == 2.0
    assert agenda.take_due(2.0) == ["a"]
    assert agenda.next_due() is None


def test_a_busy_key_waits_for_its_spacing() -> None:
    agenda: Agenda[str] = Agenda()
    agenda.mark("a", 0.0, spacing=0.2)
    assert agenda.take_due(0.0) == ["a"]
    agenda.mark("a", 0.05, spacing=0.2)
    assert agenda.take_due(0.1) == []
    assert agenda.next_due() == pytest.approx(0.2)
    assert agenda.take_due(0.2) == ["a"]


def test_keys_are_taken_in_the_order_in_which_they_are_due() -> None:
    agenda: Agenda[str] = Agenda()
    for due, key in ((3.0, "c"), (1.0, "a"), (2.0, "b"), (9.0, "z")):
        agenda.mark_at(key, due)
    assert agenda.take_due(5.0) == ["a", "b", "c"]
    agenda.forget("z")
    assert agenda.next_due() is None


def test_the_backlog_changes_only_when_wishes_do() -> None:
    backlog = Backlog()
    gang = make_gang()
    members = [make_member("a"), make_member("b", shape="other")]
    wishes = [(gang_request(gang, members, SHAPES, NOTHING_LEARNT), GangTarget(("team", "pods-g")))]
    backlog.wish(("team", "pods-g"), wishes)
    assert backlog.has_changed
    backlog.has_changed = False
    again = [(gang_request(gang, reversed(members), SHAPES, NOTHING_LEARNT), GangTarget(("team", "pods-g")))]
    backlog.wish(("team", "pods-g"), again)
    assert not backlog.has_changed
    assert [request.members for request in backlog.requests()] == [2]
    backlog.drop(("team", "pods-g"))
    assert backlog.has_changed
    assert len(backlog) == 0


def test_places_become_slots_in_their_order_from_a_given_number_on() -> None:
    groups = (
        GroupPlacement("other", (), (NodeRun("n1", 1),)),
        GroupPlacement("shape", (), (NodeRun("n1", 1), NodeRun("n2", 2))),
    )
    slots = slots_of(Reservation(("team", "pods-g"), "uid", groups), first=5)
    assert [(slot, place.node, place.shape) for slot, place in slots.items()] == [
        (5, "n1", "other"),
        (6, "n1", "shape"),
        (7, "n2", "shape"),
        (8, "n2", "shape"),
    ]
