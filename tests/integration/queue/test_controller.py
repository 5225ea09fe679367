"""The controller on a real API server: every step of a gang's life, with everybody else played by the test."""

from __future__ import annotations

import time

import pytest

from bones.kube import Item, Kube
from bones.names import GANG, GATE, MANAGED, RELEASE
from bones.playing import ENVIRONMENT, Playing
from muster_local.cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


def test_a_gang_is_reserved_released_run_and_forgotten(play: Playing) -> None:
    play.open_namespace()
    play.add_nodes(2)
    before = play.fence()
    play.create_gang("one", 3, count=2)
    assert "2 of 3" in play.wait_reason("one", "WaitingForMembers")["status"]["message"]
    play.wait_event("one-0", "WaitingForMembers")
    play.create_gang("one", 3, first=2, count=1)
    gang = play.wait_phase("one", "Released")
    assert play.fence() > before
    assert play.fence().term == gang["status"]["reservation"]["term"]
    assert sorted(play.ticket(f"one-{number}").slot for number in range(3)) == [0, 1, 2]
    play.commit("one")
    play.bind("one-0", "one-1", "one-2")
    running = play.wait_phase("one", "Running")
    assert [(c["type"], c["status"]) for c in running["status"]["conditions"]] == [("Scheduled", "True")]
    assert running["status"]["bound"] == 3
    play.admin.delete_all("pods", play.namespace)
    play.wait_no_gang("one")


def test_a_release_touches_nothing_else(play: Playing) -> None:
    play.open_namespace()
    play.add_nodes(1)
    play.create_gang("mine", 1, annotations={"example.com/own": "kept"}, labels={"own": "kept"})
    play.wait_phase("mine", "Released")
    pod = play.admin.get("pods", "mine-0", play.namespace)
    assert pod["metadata"]["annotations"]["example.com/own"] == "kept"
    assert pod["metadata"]["labels"]["own"] == "kept"
    assert RELEASE in pod["metadata"]["annotations"]


def test_a_foreign_gate_is_waited_for_and_never_removed(play: Playing) -> None:
    play.open_namespace()
    play.add_nodes(1)
    play.create_gang("held", 2, schedulingGates=[{"name": "example.com/other"}])
    play.wait_reason("held", "ForeignGate")
    for name in ("held-0", "held-1"):
        body = {"spec": {"schedulingGates": [{"$patch": "delete", "name": "example.com/other"}]}}
        gates = play.admin.get("pods", name, play.namespace)["spec"]["schedulingGates"]
        assert {gate["name"] for gate in gates} == {"example.com/other", GATE}
        play.admin.patch("pods", name, body, play.namespace, kind="application/strategic-merge-patch+json")
    play.wait_phase("held", "Released")


def test_a_cordoned_node_takes_the_reservation_back_and_the_next_plan_goes_elsewhere(play: Playing) -> None:
    play.open_namespace()
    play.add_nodes(2)
    play.create_gang("moving", 2)
    first = play.wait_phase("moving", "Released")
    node = first["status"]["plan"][0]["node"]
    play.cordon(node)
    moved = play.wait_gang("moving", lambda item: _is_released_after(item, first), what="released again")
    assert node not in {run["node"] for run in moved["status"]["plan"]}
    assert moved["status"]["aborts"]["last"]["reason"] == "NodeUnschedulable"
    assert str(play.ticket("moving-0").epoch) == moved["status"]["epoch"]


def test_what_the_scheduler_refuses_is_planned_on_another_node(play: Playing) -> None:
    play.open_namespace()
    play.add_nodes(2)
    play.create_gang("refused", 2)
    first = play.wait_phase("refused", "Released")
    node = first["status"]["plan"][0]["node"]
    play.refuse("refused-0", "0/2 nodes are available: 2 Insufficient cpu.")
    moved = play.wait_gang("refused", lambda item: _is_released_after(item, first), what="released again")
    assert node not in {run["node"] for run in moved["status"]["plan"]}
    last = moved["status"]["aborts"]["last"]
    assert (last["reason"], last["node"]) == ("PlacementRefused", node)
    assert "Insufficient cpu" in last["message"]


def test_a_barrier_that_gave_up_is_tried_again_in_a_new_epoch(play: Playing) -> None:
    play.open_namespace()
    play.add_nodes(1)
    play.create_gang("again", 2)
    first = play.wait_phase("again", "Released")
    term, count = first["status"]["epoch"].split("-")
    aborts = {"count": 1, "last": {"reason": "BarrierTimeout", "message": "1 of 2 at the barrier"}}
    epoch = f"{term}-{int(count) + 1}"
    play.set_status("again", phase="Pending", epoch=epoch, plan=[], reservation=None, aborts=aborts)
    second = play.wait_gang("again", lambda item: _is_released_after(item, first), what="released again")
    assert second["status"]["epoch"] == epoch


def test_a_member_deleted_before_the_commit_takes_the_reservation_back(play: Playing) -> None:
    play.open_namespace()
    play.add_nodes(1)
    play.create_gang("short", 3)
    play.wait_phase("short", "Released")
    play.admin.delete("pods", "short-1", play.namespace)
    gang = play.wait_phase("short", "Pending")
    assert gang["status"]["aborts"]["last"]["reason"] == "MemberDeleted"
    play.create_gang("short", 3, first=1, count=1)
    play.wait_phase("short", "Released")


def test_a_replacement_joins_a_running_gang_in_a_slot_of_its_own(play: Playing) -> None:
    play.open_namespace()
    play.add_nodes(1)
    play.run_gang("grown", 3)
    play.admin.delete("pods", "grown-1", play.namespace)
    play.create_gang("grown", 3, first=7, count=1)
    play.wait_ticket("grown-7")
    assert play.ticket("grown-7").slot == 3
    play.bind("grown-7")
    whole = play.wait_gang("grown", lambda item: item["status"]["bound"] == 3, what="3 bound")
    assert whole["status"]["phase"] == "Running"
    assert whole["status"]["epoch"] == str(play.ticket("grown-0").epoch)


def test_a_gang_bound_in_part_past_its_deadline_is_evicted_whole(play: Playing) -> None:
    play.open_namespace()
    play.add_nodes(1)
    play.create_gang("broken", 3)
    play.wait_phase("broken", "Released")
    play.commit("broken")
    play.bind("broken-0", "broken-1")
    play.wait_pods(lambda pods: not pods, what="all pods evicted")
    play.wait_no_gang("broken")


def test_a_broken_gang_is_kept_where_its_owner_says_so(play: Playing) -> None:
    play.open_namespace()
    play.add_nodes(1)
    play.create_gang("kept", 3, annotations={"aiplatform.example.com/on-broken": "keep"})
    play.wait_phase("kept", "Released")
    play.commit("kept")
    play.bind("kept-0", "kept-1")
    gang = play.wait_gang("kept", lambda item: "Healthy" in _conditions(item), what="Healthy=False")
    assert _conditions(gang)["Healthy"] == ("False", "GangBroken")
    play.wait_event("pods-kept", "GangBroken")
    assert len(play.admin.items("pods", play.namespace)) == 3


def test_a_disruption_budget_holds_an_eviction_up_and_it_goes_on_later(play: Playing) -> None:
    play.open_namespace()
    play.add_nodes(1)
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "all", "namespace": play.namespace},
        "spec": {"minAvailable": "100%", "selector": {"matchLabels": {GANG: "guarded"}}},
    }
    play.admin.create(budget)
    play.create_gang("guarded", 2)
    play.wait_phase("guarded", "Released")
    play.commit("guarded")
    play.bind("guarded-0")
    play.end("guarded-0", "Running")
    play.wait_phase("guarded", "Evicting")
    play.admin.delete("poddisruptionbudgets", "all", play.namespace)
    play.wait_pods(lambda pods: not pods, what="all pods evicted")


def test_a_gang_whose_pods_have_all_succeeded_has_succeeded(play: Playing) -> None:
    play.open_namespace()
    play.add_nodes(1)
    play.run_gang("done", 2)
    play.end("done-0")
    play.end("done-1")
    play.wait_phase("done", "Succeeded")
    play.create_gang("waiting", 8)
    play.wait_phase("waiting", "Released")
    identity = play.gang("done")["spec"]["id"]
    play.create_gang("done", 2, first=5, count=2)
    again = play.wait_gang("done", lambda item: item["spec"]["id"] != identity, what="a new incarnation")
    assert again["metadata"]["name"] == "pods-done"


def test_single_pods_are_ticketed_and_moved_when_their_node_is_cordoned(play: Playing) -> None:
    play.open_namespace()
    play.add_nodes(2)
    play.create_pod("alone")
    play.wait_ticket("alone")
    first = play.ticket("alone")
    assert first.is_single
    play.cordon(first.node)
    play.wait_pods(lambda pods: play.ticket("alone").node != first.node, what="a ticket for another node")


def test_pods_from_before_the_namespace_was_labelled_are_ticketed(play: Playing) -> None:
    play.open_namespace(managed=False)
    play.add_nodes(1)
    play.create_pod("early")
    play.create_gang("early", 2)
    play.admin.patch("namespaces", play.namespace, {"metadata": {"labels": {MANAGED: "true"}}})
    play.wait_phase("early", "Released")
    play.wait_ticket("early")


def test_a_label_that_cannot_name_a_gang_is_told_at_the_pod_and_stops_nobody(play: Playing) -> None:
    play.open_namespace()
    play.add_nodes(1)
    play.create_pod("odd", gang="Not_A_Name", size=1)
    play.create_pod("nameless", labels={GANG: "nameless"})
    play.wait_event("odd", "Invalid")
    play.wait_event("nameless", "InconsistentMembers")
    play.create_gang("fine", 2)
    play.wait_phase("fine", "Released")


def test_a_gang_object_deleted_by_hand_is_made_anew(play: Playing) -> None:
    play.open_namespace()
    play.add_nodes(1)
    play.create_gang("lost", 2)
    first = play.wait_phase("lost", "Released")
    play.admin.delete("gangs", "pods-lost", play.namespace)
    second = play.wait_gang("lost", lambda item: item["spec"]["id"] != first["spec"]["id"], what="a new incarnation")
    play.wait_phase("lost", "Released")
    assert play.ticket("lost-0").gang == second["spec"]["id"]


def test_a_fence_moved_by_another_leader_makes_this_one_begin_anew(play: Playing, kube: Kube) -> None:
    play.open_namespace()
    play.add_nodes(1)
    term = play.fence().term
    kube.patch("placementterms", "default", {"spec": {"term": term + 5, "seq": 3}})
    play.create_gang("fenced", 2)
    gang = play.wait_phase("fenced", "Released", timeout=40)
    assert gang["status"]["reservation"]["term"] > term + 5
    assert play.fence().term == gang["status"]["reservation"]["term"]


def test_a_new_leader_finishes_what_stands_and_resets_what_does_not(play: Playing, cluster: Cluster) -> None:
    play.open_namespace()
    play.add_nodes(2)
    cluster.stop("controller")
    cluster.start("controller", env={**ENVIRONMENT, "MUSTER_FAILPOINTS": "controller.release.ticket@2=kill"})
    play.create_gang("standing", 4)
    cluster.await_exit("controller")
    standing = play.gang("standing")
    assert standing["status"]["phase"] == "Reserved"
    stale = {"phase": "Reserved", "epoch": "1-9", "reservation": {"term": 1, "seq": 1}, "plan": []}
    play.create_gang("stale", 2)
    _create_gang_object(play, "stale", stale)
    cluster.start("controller", env=ENVIRONMENT)
    whole = play.wait_phase("standing", "Released", timeout=40)
    assert whole["status"]["epoch"] == standing["status"]["epoch"]
    assert whole["status"]["plan"] == standing["status"]["plan"]
    assert whole["status"]["reservation"]["term"] == play.fence().term
    assert len({play.ticket(f"standing-{number}").slot for number in range(4)}) == 4
    reset = play.wait_phase("stale", "Released", timeout=40)
    assert reset["status"]["aborts"]["last"]["reason"] == "StaleReservation"


def _create_gang_object(play: Playing, gang: str, status: Item) -> None:
    spec = {"id": "a" * 16, "members": 2, "minMembers": 2, "priority": 50, "queue": "default"}
    play.controller.create(
        {
            "apiVersion": "aiplatform.example.com/v1alpha1",
            "kind": "Gang",
            "metadata": {"name": f"pods-{gang}", "namespace": play.namespace},
            "spec": spec,
        }
    )
    play.set_status(gang, **status)


def _is_released_after(item: Item, first: Item) -> bool:
    return item["status"]["phase"] == "Released" and item["status"]["epoch"] != first["status"]["epoch"]


def _conditions(item: Item) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in item["status"].get("conditions") or []}


def test_quick_gangs_cost_no_progress_writes(play: Playing) -> None:
    """A gang that completes at once is created, reserved and released: three writes, none of them about waiting."""
    play.open_namespace()
    play.add_nodes(1)
    started = time.monotonic()
    play.create_gang("quick", 3)
    gang = play.wait_phase("quick", "Released")
    if time.monotonic() - started < 1.0:
        assert gang["status"]["reason"] == "WaitingAtBarrier"
        assert "aborts" not in gang["status"]
