"""The barrier seen from its callers: sockets that close, calls that are repeated, pods and nodes that go."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from muster_extender.admission import NOT_COVERED
from muster_extender.barrier import SUPERSEDED_CALL

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


class Gang:
    """Members released for real, whose bind calls the test makes: no scheduler looks at them."""

    def __init__(self, hand: Any, door: Any, count: int, minimum: int) -> None:
        self.hand, self.door = hand, door
        [self.node] = hand.add_nodes(1, taints=[{"key": "only-by-hand", "effect": "NoSchedule"}])
        self.names = [f"m{number}" for number in range(count)]
        hand.create_pods(*self.names)
        hand.create_gang("pods-g", {self.node: f"0-{count - 1}"}, minimum=minimum)
        for slot, name in enumerate(self.names):
            hand.release(name, hand.ticket(slot, self.node))
        for name in self.names:
            hand.wait_admitted(name, self.node)
        pods = hand.admin.items("pods", hand.namespace)
        self.calls = [self._call(pods[name]) for name in self.names]

    def bind(self, number: int) -> Any:
        """The answer of a call that is made in the background."""
        return self.hand.in_background(lambda: self.door.post("bind", self.calls[number], timeout=30).json())

    def bind_and_hang_up(self, number: int) -> socket.socket:
        """A call whose socket the test holds."""
        host, port = self.door.url.removeprefix("http://").split(":")
        body = json.dumps(self.calls[number]).encode()
        connection = socket.create_connection((host, int(port)), timeout=5)
        connection.sendall(f"POST /bind HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return connection

    def _call(self, pod: dict[str, Any]) -> dict[str, str]:
        metadata = pod["metadata"]
        return {
            "PodName": metadata["name"],
            "PodNamespace": metadata["namespace"],
            "PodUID": metadata["uid"],
            "Node": self.node,
        }


@pytest.fixture
def make_gang(hand: Any, door: Any) -> Any:
    return lambda count=2, minimum=2: Gang(hand, door, count, minimum)


def test_a_closed_socket_leaves_the_barrier(make_gang: Any, hand: Any) -> None:
    gang = make_gang()
    connection = gang.bind_and_hang_up(0)
    hand.wait_parked(1)
    connection.close()
    hand.wait_parked(0)
    second = gang.bind(1)
    hand.wait_parked(1)
    hand.stays_unbound()
    first = gang.bind(0)
    assert first.result() == second.result() == {"Error": ""}
    assert hand.bound() == {"m0", "m1"}


def test_a_newer_call_replaces_an_older_one(make_gang: Any, hand: Any) -> None:
    gang = make_gang()
    older = gang.bind(0)
    hand.wait_parked(1)
    newer = gang.bind(0)
    assert "newer bind call" in older.result()["Error"]
    hand.wait_parked(1)
    last = gang.bind(1)
    assert newer.result() == last.result() == {"Error": ""}


def test_a_repeated_call_for_a_bound_pod_succeeds(make_gang: Any) -> None:
    gang = make_gang(1, 1)
    assert gang.bind(0).result() == {"Error": ""}
    assert gang.bind(0).result() == {"Error": ""}
    gang.calls[0]["Node"] = "another"
    assert "another node" in gang.bind(0).result()["Error"]


def test_a_member_deleted_while_parked_holds_the_others_unbound(make_gang: Any, hand: Any) -> None:
    gang = make_gang()
    deleted = gang.bind(0)
    hand.wait_parked(1)
    hand.admin.delete("pods", "m0", hand.namespace, grace=0)
    assert "the pod is gone" in deleted.result()["Error"]
    other = gang.bind(1)
    hand.wait_parked(1)
    hand.stays_unbound()
    hand.set_status("pods-g", phase="Pending", epoch="1-2", plan=None, reservation=None)
    assert "not being released" in other.result()["Error"]


@pytest.mark.parametrize("loss", ["cordoned", "deleted"])
def test_a_lost_node_holds_the_commit(make_gang: Any, hand: Any, loss: str) -> None:
    gang = make_gang()
    first = gang.bind(0)
    hand.wait_parked(1)
    if loss == "cordoned":
        hand.admin.patch("nodes", gang.node, {"spec": {"unschedulable": True}})
    else:
        hand.admin.delete("nodes", gang.node)
    hand.wait_nodes_seen()
    second = gang.bind(1)
    hand.wait_parked(2)
    hand.stays_unbound()
    hand.set_status("pods-g", phase="Pending", epoch="1-2", plan=None, reservation=None)
    for call in (first, second):
        assert "not being released" in call.result()["Error"]


def test_a_call_that_gets_too_old_comes_back_without_an_abort(make_gang: Any, hand: Any, restart: Any) -> None:
    restart(MUSTER_BIND_TIMEOUT="10", MUSTER_COMMIT_SLACK="7")
    gang = make_gang()
    assert "comes back" in gang.bind(0).result()["Error"]
    status = hand.gang("pods-g")["status"]
    assert (status["phase"], status["epoch"]) == ("Released", "1-1")


def test_the_other_extender_commits_and_this_one_goes_on(make_gang: Any, hand: Any) -> None:
    """Half of the members are parked elsewhere: whoever commits, all bind."""
    gang = make_gang()
    here = gang.bind(0)
    hand.wait_parked(1)
    hand.set_status("pods-g", phase="Committed")
    assert here.result() == {"Error": ""}
    assert hand.bound() == {"m0"}


def test_a_fence_that_moved_on_unseen_stops_the_commit(make_gang: Any, hand: Any, wait_until: Any) -> None:
    """The reservation of a leader that has been replaced: neither parked calls nor a later one open the barrier."""
    gang = make_gang()
    first = gang.bind(0)
    hand.wait_parked(1)
    hand.move_fence(term=hand.fence["term"] + 1, seq=0)
    second = gang.bind(1)
    hand.stays_unbound()
    hand.set_status("pods-g", reservation=hand.fence)
    # The extender hears of it by a watch: until then it sends the call back, and the scheduler makes another.
    wait_until(lambda: gang.bind(1).result() == {"Error": ""}, 20, "the barrier to open")
    assert first.result() == {"Error": ""}
    # It was held or refused, as the extender had heard of the new fence or not; a held one may have made way.
    assert second.result()["Error"] in ("", NOT_COVERED, SUPERSEDED_CALL)
