"""Gangs go through the real scheduler: whole or not at all, with a controller made of test code."""

from __future__ import annotations

from typing import Any

import pytest

from bones.names import RELEASE

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


def test_a_gang_is_bound_once_its_last_member_is_parked(hand: Any) -> None:
    [node, other] = hand.add_nodes(2)
    hand.create_pods("a", "b", "c")
    hand.create_gang("pods-g", {node: "0-1", other: "2"}, minimum=3)
    hand.release("a", hand.ticket(0, node))
    hand.release("b", hand.ticket(1, node))
    hand.wait_parked(2)
    hand.stays_unbound()
    hand.release("c", hand.ticket(2, other))
    pods = hand.wait_bound(3)
    assert {name: pod["spec"]["nodeName"] for name, pod in pods.items()} == {"a": node, "b": node, "c": other}
    status = hand.gang("pods-g")["status"]
    assert (status["phase"], status["epoch"]) == ("Committed", "1-1")
    assert status["committedAt"]
    assert status["plan"]


def test_a_gang_waits_at_the_barrier_until_it_is_released(hand: Any) -> None:
    [node] = hand.add_nodes(1)
    hand.create_pods("a", "b")
    hand.create_gang("pods-g", {node: "0-1"}, minimum=2, phase="Reserved")
    hand.release("a", hand.ticket(0, node))
    hand.release("b", hand.ticket(1, node))
    hand.wait_parked(2)
    hand.stays_unbound()
    hand.set_status("pods-g", phase="Released")
    hand.wait_bound(2)


def test_a_member_of_a_committed_gang_binds_without_the_others(hand: Any) -> None:
    [node] = hand.add_nodes(1)
    hand.create_pods("late")
    hand.create_gang("pods-g", {node: "0-4"}, minimum=5, phase="Committed")
    hand.release("late", hand.ticket(3, node))
    hand.wait_bound(1)


def test_a_single_pod_is_bound_by_its_ticket_alone(hand: Any) -> None:
    [node, _] = hand.add_nodes(2)
    pods = hand.create_pods("alone")
    hand.release("alone", hand.single_ticket(pods["alone"]["metadata"]["uid"], node))
    pods = hand.wait_bound(1)
    assert pods["alone"]["spec"]["nodeName"] == node


def test_a_gate_taken_off_without_a_ticket_gains_nothing(hand: Any) -> None:
    hand.add_nodes(1)
    hand.create_pods("thief")
    hand.controller.patch("pods", "thief", {"spec": {"schedulingGates": None}}, hand.namespace)
    hand.stays_unbound(2.0)
    pods = hand.admin.wait_for(
        "pods", lambda items: items["thief"]["status"].get("conditions"), namespace=hand.namespace
    )
    assert "waiting for Muster to release this pod" in str(pods["thief"]["status"]["conditions"])


def test_a_ticket_of_the_next_epoch_replaces_a_worthless_one(hand: Any) -> None:
    [node] = hand.add_nodes(1)
    hand.create_pods("a")
    hand.epoch = "1-2"
    hand.create_gang("pods-g", {node: "0"}, minimum=1)
    hand.release("a", hand.ticket(0, node, epoch="1-1"))
    hand.stays_unbound()
    annotation = {"metadata": {"annotations": {RELEASE: hand.ticket(0, node)}}}
    hand.controller.patch("pods", "a", annotation, hand.namespace)
    hand.wait_bound(1, timeout=5)


def test_a_reservation_that_the_fence_does_not_cover_is_ignored_until_it_is_adopted(hand: Any) -> None:
    [node] = hand.add_nodes(1)
    hand.create_pods("a")
    hand.create_gang("pods-g", {node: "0"}, minimum=1)
    hand.move_fence(term=hand.fence["term"] + 1, seq=0)
    hand.release("a", hand.ticket(0, node))
    hand.stays_unbound(2.5)
    hand.set_status("pods-g", reservation=hand.fence)
    hand.wait_bound(1, timeout=15)


def test_a_copied_ticket_gains_nothing(hand: Any) -> None:
    [node] = hand.add_nodes(1)
    hand.create_pods("a", "copy")
    hand.create_gang("pods-g", {node: "0-1"}, minimum=2)
    hand.release("a", hand.ticket(0, node))
    hand.wait_parked(1)
    hand.release("copy", hand.ticket(0, node))
    hand.stays_unbound(2.0)
    assert hand.parked() == 1


def test_a_gang_that_is_aborted_while_parked_is_not_bound(hand: Any) -> None:
    [node] = hand.add_nodes(1)
    hand.create_pods("a", "b")
    hand.create_gang("pods-g", {node: "0-1"}, minimum=2)
    hand.release("a", hand.ticket(0, node))
    hand.wait_parked(1)
    hand.set_status("pods-g", phase="Pending", epoch="1-2", plan=None, reservation=None)
    hand.wait_parked(0)
    hand.release("b", hand.ticket(1, node))
    hand.stays_unbound(2.0)


def test_the_barrier_gives_up_when_nobody_comes(hand: Any, restart: Any) -> None:
    restart(MUSTER_BARRIER_TIMEOUT="2")
    [node, other] = hand.add_nodes(2)
    hand.create_pods("a", "b")
    hand.create_gang("pods-g", {node: "0", other: "1"}, minimum=2)
    hand.release("a", hand.ticket(0, node))
    status = hand.wait_phase("pods-g", "Pending")["status"]
    assert (status["epoch"], status["reason"]) == ("1-2", "BarrierTimeout")
    assert status["aborts"]["count"] == 1
    assert status["aborts"]["last"]["node"] == other
    assert "1 of 2" in status["message"]
    assert not status.get("plan") and not status.get("reservation")
    hand.wait_parked(0)
    assert not hand.bound()


def test_an_elastic_gang_starts_with_its_minimum(hand: Any) -> None:
    [node] = hand.add_nodes(1)
    hand.create_pods("a", "b", "c")
    hand.create_gang("pods-g", {node: "0-2"}, minimum=2)
    hand.release("a", hand.ticket(0, node))
    hand.release("b", hand.ticket(1, node))
    hand.wait_bound(2)
    hand.release("c", hand.ticket(2, node))
    hand.wait_bound(3)


def test_unmanaged_pods_get_only_what_is_neither_used_nor_reserved(hand: Any, admin: Any) -> None:
    from bones.builders import make_namespace

    [node, free] = hand.add_nodes(2, gpus=2)
    hand.create_pods("a", "b", gpus=1)
    hand.create_gang("pods-g", {node: "0-1"}, minimum=2, phase="Reserved")
    elsewhere = f"{hand.namespace}-free"
    admin.create(make_namespace(elsewhere, managed=False))
    admin.wait_for("serviceaccounts", lambda items: "default" in items, namespace=elsewhere)
    try:
        for number in range(3):
            hand.create_pods(f"free-{number}", gated=False, marked=False, namespace=elsewhere)
        pods = admin.wait_for(
            "pods", lambda items: sum(bool(p["spec"].get("nodeName")) for p in items.values()) == 2, namespace=elsewhere
        )
        assert {pod["spec"].get("nodeName") for pod in pods.values()} == {free, None}
        admin.stays(
            "pods",
            lambda items: len([p for p in items.values() if p["spec"].get("nodeName")]) == 2,
            namespace=elsewhere,
            seconds=1.5,
        )
    finally:
        admin.delete_all("pods", elsewhere)
        admin.delete("namespaces", elsewhere)
