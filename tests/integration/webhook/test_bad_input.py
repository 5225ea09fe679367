"""Bad input at the doors: the real webhook process, pods' labels and annotations, and the resources' schemas."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bones.builders import make_pod
from bones.kube import Kube, KubeError
from bones.malformed import GENERATED, GOOD_POD, JSON_VALUES, WRITTEN
from bones.reviews import patch_of
from muster_local.cluster import Cluster

pytestmark = pytest.mark.cluster

P = "aiplatform.example.com"
PATHS = ("/mutate/pods", "/validate/pods", "/mutate/crs", "/validate/crs")
JSON = {"Content-Type": "application/json"}
QUICK = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


class Door:
    """One kept-alive connection to the webhook; opened anew when the webhook closes it."""

    def __init__(self, cluster: Cluster) -> None:
        host, _, port = cluster.url("webhook").removeprefix("https://").partition(":")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._connection = http.client.HTTPSConnection(host, int(port), timeout=20, context=context)

    def post(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        self._connection.request("POST", path, body, JSON if headers is None else headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def door(plane: Cluster) -> Iterator[Door]:
    opened = Door(plane)
    yield opened
    opened.close()


def assert_alive(plane: Cluster, door: Door, pid: int) -> None:
    """The same process, and the next good request is answered with a patch."""
    assert plane.pid("webhook") == pid
    status, answer = door.post("/mutate/pods", json.dumps(GOOD_POD).encode())
    assert status == 200
    assert patch_of(answer)


def test_written_bodies_get_clear_answers(plane: Cluster, door: Door) -> None:
    pid = plane.pid("webhook")
    for path in PATHS:
        for name, body in WRITTEN.items():
            status, answer = door.post(path, body)
            assert status == 200 or 400 <= status < 500, (path, name, status, answer[:200])
            assert answer, (path, name)
    assert_alive(plane, door, pid)


def test_generated_bodies_get_clear_answers(plane: Cluster, door: Door) -> None:
    pid = plane.pid("webhook")

    @settings(QUICK, max_examples=1500)
    @given(body=GENERATED, path=st.sampled_from(PATHS))
    def each(body: bytes, path: str) -> None:
        status, answer = door.post(path, body)
        assert status == 200 or 400 <= status < 500
        assert answer

    each()
    assert_alive(plane, door, pid)


def test_a_body_that_is_too_large_is_not_read(plane: Cluster, door: Door) -> None:
    pid = plane.pid("webhook")
    # The answer may come while the body is still being sent, or the connection end before.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
        assert door.post("/mutate/pods", b"x" * (8 << 20))[0] == 413
    door.close()
    assert_alive(plane, door, pid)


def test_other_content_types_are_refused(plane: Cluster, door: Door) -> None:
    assert door.post("/mutate/pods", b"{}", {"Content-Type": "application/yaml"})[0] == 415


GARBAGE = (
    b"\x00" * 4096,
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST /mutate/pods HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    b"POST /mutate/pods HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
)


@pytest.mark.parametrize("secure", [True, False], ids=["inside TLS", "instead of TLS"])
def test_garbage_instead_of_http(plane: Cluster, door: Door, secure: bool) -> None:
    pid = plane.pid("webhook")
    host, _, port = plane.url("webhook").removeprefix("https://").partition(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for garbage in GARBAGE:
        with (
            contextlib.suppress(OSError),
            socket.create_connection((host, int(port)), timeout=10) as plain,
            context.wrap_socket(plain) if secure else plain as connection,
        ):
            connection.sendall(garbage)
            connection.recv(1000)
    assert_alive(plane, door, pid)


TEXTS = st.text(max_size=70) | st.sampled_from(["0", "-1", "3", "1e3", " 3", "high", "9" * 30, "true", "\x00", "é"])


def test_labels_and_annotations_of_pods(plane: Cluster, client: Kube, managed: str) -> None:
    """Each pod is gated or refused with a reason; nothing else can happen."""
    pid = plane.pid("webhook")
    names = ["gang-size", "gang-min", "priority", "max-runtime", "pin", "on-broken", "topology", "release"]

    @settings(QUICK, max_examples=500)
    @given(
        annotations=st.dictionaries(st.sampled_from(names), TEXTS, max_size=4),
        labels=st.dictionaries(st.sampled_from(["gang", "queue"]), TEXTS, max_size=2),
    )
    def each(annotations: dict[str, str], labels: dict[str, str]) -> None:
        pod = make_pod("p", managed)
        pod["metadata"]["annotations"] = {f"{P}/{name}": value for name, value in annotations.items()}
        pod["metadata"]["labels"] = {f"{P}/{name}": value for name, value in labels.items()}
        try:
            created = client.post(f"api/v1/namespaces/{managed}/pods?dryRun=All", pod)
            assert created["spec"]["schedulingGates"]
        except KubeError as refused:
            assert 400 <= refused.status < 500, refused
            assert refused.message

    each()
    assert plane.pid("webhook") == pid
    assert client.create(make_pod("good", managed, gang="g", size=1))["spec"]["schedulingGates"]


GOOD_SPECS: dict[str, tuple[str, dict[str, Any]]] = {
    "AIJob": ("aijobs", {"jobType": "training", "image": "i", "gang": {}, "resources": {}, "retryPolicy": {}}),
    "AIJobQueue": ("aijobqueues", {"maxConcurrency": 1, "priorityClass": "high", "defaultResources": {}}),
    "Gang": ("gangs", {"id": "a" * 16, "members": 3, "minMembers": 3, "owner": {}}),
}


@pytest.mark.parametrize("kind", GOOD_SPECS)
def test_specs_of_resources(plane: Cluster, client: Kube, managed: str, kind: str) -> None:
    """Each object is taken or refused with a path; the API server never stumbles."""
    plural, good = GOOD_SPECS[kind]
    pid = plane.pid("webhook")

    @settings(QUICK, max_examples=250)
    @given(changes=st.dictionaries(st.sampled_from(sorted(good)), JSON_VALUES, min_size=1, max_size=3))
    def each(changes: dict[str, Any]) -> None:
        subject = {"apiVersion": f"{P}/v1alpha1", "kind": kind, "metadata": {"name": "a"}, "spec": {**good, **changes}}
        try:
            client.post(f"apis/{P}/v1alpha1/namespaces/{managed}/{plural}?dryRun=All", subject)
        except KubeError as refused:
            assert 400 <= refused.status < 500, refused
            assert refused.message

    each()
    assert plane.pid("webhook") == pid
