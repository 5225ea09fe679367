"""A plain control plane, without our services: started, hurt, asked and ended through the Python API."""

from __future__ import annotations

import http.client
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from bones.control_plane import start_cluster
from bones.pids import lives
from muster_local.cluster import Cluster
from muster_local.errors import ApiError, InstanceMissingError, LocalError

pytestmark = pytest.mark.cluster

PODS = "/api/v1/namespaces/default/pods"
RUN_SECONDS = "aiplatform.example.com/simulate-run-seconds"
EXIT_CODE = "aiplatform.example.com/simulate-exit-code"
TERMINATION_MESSAGE = "aiplatform.example.com/simulate-termination-message"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = start_cluster(tmp_path_factory.mktemp("plain"), muster=False, nodes=2)
    yield cluster
    cluster.down()


def eventually(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def make_pod(cluster: Cluster, name: str, **annotations: str) -> None:
    container = {"name": "main", "image": "none", "resources": {"requests": {"cpu": "1"}}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    cluster.client.create(PODS, pod)


def phase(cluster: Cluster, name: str) -> str:
    return str(cluster.client.get(f"{PODS}/{name}")["status"]["phase"])


def test_up_returns_when_pods_run(plain: Cluster) -> None:
    make_pod(plain, "runs")
    eventually(lambda: phase(plain, "runs") == "Running")
    plain.client.delete(f"{PODS}/runs")
    with pytest.raises(ApiError, match="not found"):
        eventually(lambda: not plain.client.get(f"{PODS}/runs"))


def test_a_simulated_run_ends_as_its_annotations_say(plain: Cluster) -> None:
    make_pod(plain, "works", **{RUN_SECONDS: "0.1"})
    make_pod(plain, "fails", **{RUN_SECONDS: "0.1", EXIT_CODE: "3", TERMINATION_MESSAGE: 'it: "failed"'})
    eventually(lambda: (phase(plain, "works"), phase(plain, "fails")) == ("Succeeded", "Failed"))
    [status] = plain.client.get(f"{PODS}/fails")["status"]["containerStatuses"]
    assert (status["state"]["terminated"]["exitCode"], status["state"]["terminated"]["message"]) == (3, 'it: "failed"')


def test_everything_listens_on_loopback_only(plain: Cluster) -> None:
    running = [component for component in plain.status().components if component.running]
    assert {component.name for component in running} == {
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kwok",
    }
    for component in running:
        connections = psutil.Process(component.pid).net_connections("inet")
        listening = {entry.laddr.ip for entry in connections if entry.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}, component.name


@pytest.mark.parametrize("component", ["etcd", "kube-apiserver"])
def test_strangers_are_turned_away(plain: Cluster, component: str) -> None:
    host, _, port = plain.url(component).removeprefix("https://").partition(":")
    context = ssl.create_default_context(cafile=str(plain.layout.certificate("ca")))
    connection = http.client.HTTPSConnection(host, int(port), timeout=5, context=context)
    try:
        connection.request("GET", "/api/v1/nodes")
        assert connection.getresponse().status == http.client.UNAUTHORIZED
    except (ssl.SSLError, ConnectionError):
        assert component == "etcd"
    finally:
        connection.close()


def test_nodes_come_fail_and_go(plain: Cluster) -> None:
    label = {"accelerator": "none"}
    names = plain.add_nodes(3, prefix="extra", cpu="8", gpus=0, labels=label)
    node = plain.client.get("/api/v1/nodes/extra-1")
    assert node["status"]["allocatable"]["cpu"] == "8"
    assert node["metadata"]["labels"]["accelerator"] == "none"
    plain.fail_node("extra-0")
    plain.cordon("extra-1")

    def taints(name: str) -> list[str]:
        spec = plain.client.get(f"/api/v1/nodes/{name}")["spec"]
        return [taint["key"] for taint in spec.get("taints", [])]

    eventually(lambda: "node.kubernetes.io/not-ready" in taints("extra-0"))
    eventually(lambda: "node.kubernetes.io/unschedulable" in taints("extra-1"))
    plain.recover_node("extra-0")
    eventually(lambda: taints("extra-0") == [])
    plain.remove_nodes(names)
    assert plain.node_names() == ["node-0", "node-1"]


def test_a_killed_component_stays_dead_until_started(plain: Cluster) -> None:
    before = plain.pid("kube-scheduler")
    plain.kill("kube-scheduler")
    assert plain.status().component("kube-scheduler").pid is None
    make_pod(plain, "waits")
    with pytest.raises(LocalError, match="not running"):
        plain.pause("kube-scheduler")
    plain.start("kube-scheduler")
    assert plain.pid("kube-scheduler") != before
    eventually(lambda: phase(plain, "waits") == "Running")


def test_what_the_api_server_knew_survives_its_death(plain: Cluster) -> None:
    for name in ("kube-apiserver", "etcd"):
        plain.kill(name)
    plain.start("etcd")
    plain.start("kube-apiserver")
    assert plain.node_names() == ["node-0", "node-1"]


def test_a_paused_component_is_alive_and_goes_on(plain: Cluster) -> None:
    plain.pause("kwok")
    # The signal is sent; the kernel stops a process that is at work a moment later.
    eventually(lambda: psutil.Process(plain.pid("kwok")).status() == psutil.STATUS_STOPPED)
    make_pod(plain, "later")
    eventually(lambda: plain.client.get(f"{PODS}/later")["spec"].get("nodeName"))
    assert phase(plain, "later") == "Pending"
    plain.resume("kwok")
    eventually(lambda: phase(plain, "later") == "Running")


def test_another_process_finds_the_same_instance(plain: Cluster) -> None:
    other = Cluster(plain.layout.root)
    assert other.status() == plain.status()
    with pytest.raises(LocalError, match="runs already"):
        other.start("kwok")
    with pytest.raises(LocalError, match="other options"):
        other.up(nodes=99)


def test_wrong_names_are_refused_with_the_right_ones(plain: Cluster) -> None:
    with pytest.raises(LocalError, match="kube-scheduler"):
        plain.kill("scheduler", signal.SIGKILL)
    with pytest.raises(InstanceMissingError):
        plain.kubeconfig("nobody")


def test_down_ends_everything_and_up_brings_it_back(tmp_path: Path) -> None:
    cluster = start_cluster(tmp_path / "again", muster=False, nodes=0)
    try:
        cluster.add_nodes(2, prefix="kept")
        port = cluster.url("kube-apiserver")
        pids = [component.pid for component in cluster.status().components]
        cluster.down()
        assert not any(map(lives, pids))
        cluster.up()
        assert cluster.node_names() == ["kept-0", "kept-1"]
        assert cluster.url("kube-apiserver") == port
    finally:
        cluster.down(purge=True)
    assert not cluster.layout.root.exists()


def test_ports_that_somebody_took_meanwhile_are_given_up(tmp_path: Path) -> None:
    cluster = start_cluster(tmp_path / "moved", muster=False, nodes=1)
    try:
        before = cluster.url("etcd")
        cluster.down()
        with closing(socket.create_server(("127.0.0.1", int(before.rpartition(":")[2])))):
            cluster.up()
        assert cluster.url("etcd") != before
        assert cluster.node_names() == ["node-0"]
    finally:
        cluster.down(purge=True)


def test_an_api_server_that_is_away_is_named(plain: Cluster) -> None:
    plain.stop("kube-apiserver")
    with pytest.raises(LocalError, match="does not answer"):
        plain.node_names()
    assert plain.status().nodes.simulated == 0
    plain.start("kube-apiserver")
    assert plain.status().nodes.simulated == 2


def test_a_start_that_fails_says_why_and_leaves_nothing_running(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "broken")
    cluster.layout.make()
    (cluster.layout.etcd / "member").write_text("not a folder")
    with pytest.raises(LocalError, match=r"etcd ended while starting\n.*etcd\.log"):
        cluster.up(muster=False, nodes=0)
    assert not any(component.running for component in cluster.status().components)
    cluster.down(purge=True)
