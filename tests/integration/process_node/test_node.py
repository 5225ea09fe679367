"""The node itself: its rights, its death and return, drain, and what is left when the instance goes down."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from bones.control_plane import Kubectl, wait_until
from bones.kube import Kube
from bones.process_pods import KIND, shell_pod
from muster_local.cluster import Cluster

pytestmark = pytest.mark.cluster

Pod = dict[str, Any]
Run = Callable[[Pod], str]
Wait = Callable[..., Pod]

COUNT = "i=0; while true; do i=$((i+1)); echo $$ $i; sleep 0.1; done"


def is_running(pod: Pod) -> bool:
    return bool(pod["status"].get("phase") == "Running")


def ready(node: dict[str, Any]) -> str:
    return next(str(entry["status"]) for entry in node["status"]["conditions"] if entry["type"] == "Ready")


def test_nodes_are_counted_and_offer_what_the_machine_has(machine: Cluster, api: Kube) -> None:
    assert machine.status().nodes.process == 2
    assert machine.status().component("process-node-1").running
    node = api.get("nodes", "process-node-0")
    assert node["metadata"]["labels"][KIND] == "process"
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "4"
    assert "kwok.x-k8s.io/node" not in node["metadata"].get("annotations", {})


def test_a_node_has_the_rights_of_a_node(machine: Cluster, command: Kubectl) -> None:
    credentials = ["--kubeconfig", str(machine.kubeconfig("process-node-0"))]

    def may(*words: str) -> bool:
        return command.run("auth", "can-i", *words, *credentials).stdout.strip() == "yes"

    assert may("list", "pods", "--all-namespaces")
    assert may("patch", "nodes/process-node-0", "--subresource=status")
    assert not may("list", "secrets", "--all-namespaces")
    assert not may("get", "pods", "--all-namespaces", "--subresource=log")
    refused = command.run("label", "node", "process-node-1", "x=y", *credentials).stderr
    assert "only its own Node object" in refused


def test_the_kubelet_api_answers_the_api_server_alone(machine: Cluster) -> None:
    address = machine.url("process-node-0").removeprefix("https://")
    context = ssl.create_default_context(cafile=str(machine.layout.certificate("ca")))

    def status(path: str) -> int:
        connection = http.client.HTTPSConnection(address, timeout=5, context=context)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    assert status("/healthz") == 200
    assert status("/pods") == 401
    client = machine.layout
    context.load_cert_chain(client.certificate("process-node-1-client"), client.private_key("process-node-1-client"))
    assert status("/pods") == 401
    name = "kube-apiserver-kubelet-client"
    context.load_cert_chain(client.certificate(name), client.private_key(name))
    assert (status("/pods"), status("/metrics")) == (200, 200)


def test_a_killed_agent_finds_its_processes_again(
    machine: Cluster, run: Run, wait_pod: Wait, api: Kube, command: Kubectl
) -> None:
    name = run(shell_pod("survivor", COUNT, nodeName="process-node-0"))
    ended = run(shell_pod("meanwhile", "sleep 3; exit 4", nodeName="process-node-0"))
    for pod in (name, ended):
        wait_pod(pod, is_running, "the start")
    machine.kill("process-node-0")
    api.wait_for("nodes", lambda nodes: ready(nodes["process-node-0"]) == "Unknown", what="NotReady", timeout=60)
    machine.start("process-node-0")
    api.wait_for("nodes", lambda nodes: ready(nodes["process-node-0"]) == "True", what="Ready")
    pod = wait_pod(ended, lambda pod: pod["status"].get("phase") == "Failed", "what ended meanwhile")
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 4
    survivor = wait_pod(name, lambda pod: all(c["status"] == "True" for c in pod["status"]["conditions"]), "readiness")
    assert survivor["status"]["containerStatuses"][0]["restartCount"] == 0
    lines = [line.split() for line in command("logs", name).splitlines()]
    assert len({process for process, _ in lines}) == 1
    assert [int(number) for _, number in lines] == list(range(1, len(lines) + 1))


def test_a_pod_deleted_while_its_node_is_away_is_ended_on_return(
    machine: Cluster, run: Run, wait_pod: Wait, api: Kube
) -> None:
    name = run(shell_pod("forgotten", "sleep 600", nodeName="process-node-1"))
    uid = wait_pod(name, is_running, "the start")["metadata"]["uid"]
    folder = machine.layout.process_nodes / "process-node-1" / "pods" / uid
    machine.stop("process-node-1")
    api.delete("pods", name, "default", grace=0)
    assert folder.exists()
    machine.start("process-node-1")
    wait_until(lambda: not folder.exists(), 20, "the end of what was forgotten")


def test_a_drained_node_is_empty(run: Run, wait_pod: Wait, command: Kubectl, api: Kube) -> None:
    name = run(shell_pod("moved", "sleep 600", nodeName="process-node-1"))
    wait_pod(name, is_running, "the start")
    try:
        command("drain", "process-node-1", "--force", "--timeout=30s")
        assert name not in api.items("pods", "default")
    finally:
        command("uncordon", "process-node-1")


def test_an_instance_that_goes_down_ends_its_containers(machine: Cluster, run: Run, wait_pod: Wait) -> None:
    """Only starts one that ignores SIGTERM: the fixture looks for it after `down`."""
    document = shell_pod("last", "trap '' TERM; while true; do sleep 1; done", restartPolicy="Always")
    machine.client.create("/api/v1/namespaces/default/pods", document)
    wait_pod("last", is_running, "the start")
