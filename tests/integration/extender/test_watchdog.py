"""The process as its starter sees it: one pid, a server below it that may hang, and an end that says how."""

from __future__ import annotations

import json
import signal
from typing import Any

import psutil
import pytest
import urllib3

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


def server_of(cluster: Any) -> psutil.Process:
    [child] = psutil.Process(cluster.pid("extender")).children()
    return child


def is_serving(url: str) -> bool:
    try:
        return bool(urllib3.request("GET", f"{url}/readyz", timeout=1, retries=False).status == 200)
    except urllib3.exceptions.HTTPError:
        return False


def test_a_server_that_hangs_is_killed_and_started_again(cluster: Any, restart: Any, wait_until: Any) -> None:
    restart()
    hung = server_of(cluster)
    hung.send_signal(signal.SIGSTOP)
    wait_until(lambda: not hung.is_running() or hung.status() == psutil.STATUS_ZOMBIE, 10, "the end of the hung server")
    wait_until(lambda: is_serving(cluster.url("extender")), 60, "a new server")
    assert server_of(cluster).pid != hung.pid
    text = urllib3.request("GET", f"{cluster.url('extender')}/metrics", timeout=5).data.decode()
    assert "muster_extender_watchdog_kills 1.0" in text
    assert "server was silent and has been killed" in cluster.log_path("extender").read_text()


def test_a_server_that_dies_takes_its_watchdog_with_it(cluster: Any, restart: Any) -> None:
    restart()
    server_of(cluster).kill()
    cluster.await_exit("extender", 10)


def test_killing_the_watchdog_kills_the_server(cluster: Any, restart: Any, wait_until: Any) -> None:
    restart()
    server = server_of(cluster)
    cluster.kill("extender", signal.SIGKILL)
    wait_until(lambda: not server.is_running(), 10, "the end of the server")


def test_a_polite_end_answers_whoever_is_parked(cluster: Any, restart: Any, hand: Any, door: Any) -> None:
    restart()
    [node] = hand.add_nodes(1, taints=[{"key": "only-by-hand", "effect": "NoSchedule"}])
    pods = hand.create_pods("a")
    hand.create_gang("pods-g", {node: "0-1"}, minimum=2)
    hand.release("a", hand.ticket(0, node))
    hand.wait_admitted("a", node)
    uid = pods["a"]["metadata"]["uid"]
    call = {"PodName": "a", "PodNamespace": hand.namespace, "PodUID": uid, "Node": node}
    held = hand.in_background(lambda: json.loads(door.post("bind", call, timeout=30).data))
    hand.wait_parked(1)
    cluster.stop("extender")
    assert held.result() == {"Error": "the extender is stopping"}
