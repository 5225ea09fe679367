"""The verbs over HTTP, as kube-scheduler calls them and as nobody should."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
import urllib3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bones.names import GPU

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

POD: dict[str, Any] = {
    "metadata": {"name": "x", "namespace": "nobody", "uid": "u"},
    "spec": {"containers": [{"name": "main"}]},
}
GOOD = {"Pod": POD, "Nodes": None, "NodeNames": ["n1", "n2"]}
BIND = {"PodName": "x", "PodNamespace": "nobody", "PodUID": "u", "Node": "n1"}


def pod_with(**spec: Any) -> dict[str, Any]:
    return GOOD | {"Pod": POD | {"spec": spec}}


WRONG: dict[str, tuple[str, bytes, int]] = {
    "an empty body": ("filter", b"", 400),
    "no JSON": ("filter", b"hello", 400),
    "half a JSON": ("filter", json.dumps(GOOD).encode()[:-5], 400),
    "two JSON values": ("filter", json.dumps(GOOD).encode() * 2, 400),
    "null": ("filter", b"null", 400),
    "an array": ("filter", b"[]", 400),
    "a number": ("bind", b"7", 400),
    "no text at all": ("filter", b"\xff\xfe\x00\x01", 400),
    "a null pod": ("filter", json.dumps(GOOD | {"Pod": None}).encode(), 400),
    "a pod without uid": ("filter", json.dumps(GOOD | {"Pod": {"metadata": {"name": "x"}}}).encode(), 400),
    "a pod that is a word": ("filter", json.dumps(GOOD | {"Pod": "x"}).encode(), 400),
    "labels that are a list": ("filter", json.dumps(GOOD | {"Pod": {"metadata": {"labels": []}}}).encode(), 400),
    "containers that are a number": ("filter", json.dumps(pod_with(containers=3)).encode(), 400),
    "no node names": ("filter", json.dumps(GOOD | {"NodeNames": None}).encode(), 400),
    "full nodes": ("filter", json.dumps({"Pod": POD, "Nodes": {"items": []}}).encode(), 400),
    "node names that are numbers": ("prioritize", json.dumps(GOOD | {"NodeNames": [1, 2]}).encode(), 400),
    "deep nesting": ("filter", b'{"Pod":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    "a bind without uid": ("bind", json.dumps(BIND | {"PodUID": ""}).encode(), 400),
    "a bind without node": ("bind", json.dumps({"PodName": "x", "PodNamespace": "y", "PodUID": "z"}).encode(), 400),
    "a bind with a number for a name": ("bind", json.dumps(BIND | {"PodName": 7}).encode(), 400),
    "victims that are a list": ("preempt", json.dumps({"Pod": POD, "NodeNameToMetaVictims": []}).encode(), 400),
    "victims without a pod": ("preempt", json.dumps({"NodeNameToMetaVictims": {}}).encode(), 400),
    "more than 16 MiB": ("filter", b" " * (16 * 1024 * 1024 + 1), 413),
}


@pytest.mark.parametrize("case", WRONG)
def test_nonsense_is_answered_with_what_is_wrong_about_it(door: Any, cluster: Any, case: str) -> None:
    verb, body, status = WRONG[case]
    before = cluster.pid("extender")
    answer = door.post(verb, body)
    assert answer.status == status
    assert answer.data
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    assert door.ask("filter", GOOD)["NodeNames"] == ["n1", "n2"]
    assert cluster.pid("extender") == before


QUANTITIES = ["1e999999999", "-5", "", "1x", "NaN", "0.0000001", "9" * 400, "1e-9"]


@pytest.mark.parametrize("amount", QUANTITIES)
def test_strange_amounts_harm_nobody(door: Any, amount: str) -> None:
    asked = {"requests": {GPU: amount, "cpu": amount}}
    call = pod_with(containers=[{"name": "main", "resources": asked}])
    call["Pod"] |= {"metadata": POD["metadata"] | {"uid": f"asks for {amount}"}}
    answer = door.ask("filter", call)
    assert set(answer["NodeNames"]) | set(answer["FailedAndUnresolvableNodes"]) == {"n1", "n2"}
    assert door.ask("prioritize", call)


def test_other_methods_and_paths_are_told_apart(door: Any) -> None:
    answer = urllib3.request("GET", f"{door.url}/filter", timeout=5)
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert urllib3.request("POST", f"{door.url}/nothing", timeout=5).status == 404


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ["metadata", "spec", "status", "labels", "annotations", "containers", "resources", "requests", "uid", "name"]
PODLIKE = st.recursive(
    ANYTHING, lambda inner: st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5), max_leaves=10
)
BODIES = st.one_of(
    st.binary(max_size=60),
    ANYTHING.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries({"Pod": PODLIKE, "NodeNames": ANYTHING}).map(lambda value: json.dumps(value).encode()),
    PODLIKE.map(lambda pod: json.dumps(GOOD | {"Pod": pod}).encode()),
    st.dictionaries(st.sampled_from(list(BIND)), ANYTHING).map(lambda value: json.dumps(value).encode()),
)


@settings(
    max_examples=1500,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(verb=st.sampled_from(["filter", "prioritize", "preempt", "bind"]), body=BODIES)
def test_generated_nonsense_never_breaks_the_process(door: Any, cluster: Any, verb: str, body: bytes) -> None:
    answer = door.post(verb, body)
    assert answer.status in (200, 400), answer.data
    if answer.status == 200:
        json.loads(answer.data)


def test_the_same_process_serves_after_all_that(door: Any, cluster: Any) -> None:
    assert door.ask("filter", GOOD)["NodeNames"] == ["n1", "n2"]
    assert "dead" not in cluster.log_path("extender").read_text()
    assert '"request failed"' not in cluster.log_path("extender").read_text()


def test_connections_stay_open_and_answers_are_whole(door: Any) -> None:
    """Go reuses a connection only after a complete answer of a known length."""
    host, port = door.url.removeprefix("http://").split(":")
    body = json.dumps(GOOD).encode()
    request = f"POST /filter HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        for _ in range(3):
            connection.sendall(request)
            received = b""
            while not received.endswith(b'"Error":""}'):
                received += connection.recv(65536)
            assert b"content-length" in received.lower()
            assert b"chunked" not in received.lower()
            assert b"connection: close" not in received.lower()


def test_the_virtual_gate_answers_the_same_bytes_for_all_nodes(door: Any, hand: Any) -> None:
    pods = hand.create_pods("thief")
    call = {"Pod": pods["thief"], "Nodes": None, "NodeNames": ["n1", "n2", "n3"]}
    answers = {door.post("filter", call).data for _ in range(3)}
    [answer] = [json.loads(one) for one in answers]
    assert answer["NodeNames"] == []
    assert set(answer["FailedAndUnresolvableNodes"]) == {"n1", "n2", "n3"}
    assert len(set(answer["FailedAndUnresolvableNodes"].values())) == 1
    assert (answer["FailedNodes"], answer["Error"]) == ({}, "")


def test_a_pod_rejected_over_and_over_gets_errors(door: Any, hand: Any) -> None:
    pods = hand.create_pods("restless")
    call = {"Pod": pods["restless"], "Nodes": None, "NodeNames": ["n1"]}
    answers = [door.ask("filter", call) for _ in range(10)]
    assert answers[0]["Error"] == ""
    assert "rejected too often" in answers[-1]["Error"]
    assert answers[-1]["FailedAndUnresolvableNodes"] == {}


def test_prioritize_answers_a_bare_array(door: Any, hand: Any) -> None:
    nodes = hand.add_nodes(2)
    pods = hand.create_pods("p")
    scores = door.ask("prioritize", {"Pod": pods["p"], "Nodes": None, "NodeNames": nodes})
    assert [score["Host"] for score in scores] == nodes
    assert all(0 <= score["Score"] <= 10 for score in scores)


def test_preempt_answers_in_the_short_form_and_spares_members(door: Any, hand: Any) -> None:
    pods = hand.create_pods("member", gang="g", size=2)
    uid = pods["member"]["metadata"]["uid"]
    victims = {"n1": {"Pods": [{"UID": uid}], "NumPDBViolations": 0}, "n2": {"Pods": None, "NumPDBViolations": 0}}
    answer = door.ask("preempt", {"Pod": POD, "NodeNameToVictims": None, "NodeNameToMetaVictims": victims})
    assert answer == {"NodeNameToMetaVictims": {}}


def test_it_is_ready_and_says_so(cluster: Any, door: Any) -> None:
    for path in ("healthz", "readyz"):
        answer = urllib3.request("GET", f"{door.url}/{path}", timeout=5)
        assert (answer.status, answer.data) == (200, b"ok")
    metrics = urllib3.request("GET", f"{door.url}/metrics", timeout=5).data.decode()
    for name in ("filter_total", "handler_seconds", "parked", "commits_total", "bindings_total", "watchdog_kills"):
        assert f"muster_extender_{name}" in metrics
    assert 'muster_extender_reflector_staleness_seconds{resource="pods"}' in metrics
