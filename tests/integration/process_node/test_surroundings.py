"""What containers see: variables, volumes, tokens, their own names and addresses, and each other."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bones.control_plane import Kubectl
from bones.kube import Kube
from bones.process_pods import process_pod, shell_pod

pytestmark = pytest.mark.cluster

Pod = dict[str, Any]
Run = Callable[[Pod], str]
Wait = Callable[..., Pod]

READ = "import json, pathlib, sys; print(json.dumps({p: pathlib.Path(p).read_text() for p in sys.argv[1:]}))"


def is_over(pod: Pod) -> bool:
    return pod["status"].get("phase") in ("Succeeded", "Failed")


@pytest.fixture(scope="module", autouse=True)
def objects(command: Kubectl) -> None:
    command("create", "configmap", "settings", "--from-literal=COLOR=red", "--from-literal=model.yaml=layers: 3")
    command("create", "secret", "generic", "hidden", "--from-literal=PASSWORD=pass word")


def test_variables_come_from_everywhere(run: Run, wait_pod: Wait, command: Kubectl) -> None:
    container = {
        "image": "muster-host",
        "command": ["printenv"],
        "args": ["COLOR", "MINE", "IP", "NODE", "CPU", "ROLE", "PASSWORD", "GLOO_SOCKET_IFNAME"],
        "envFrom": [{"secretRef": {"name": "hidden"}}],
        "env": [
            {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "COLOR"}}},
            {"name": "ABSENT", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "x", "optional": True}}},
            {"name": "MINE", "value": "very $(COLOR) $$(COLOR) $(UNKNOWN)"},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
            {"name": "ROLE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['role']"}}},
        ],
        "resources": {"limits": {"cpu": "250m"}},
    }
    name = run(process_pod("variables", container, labels={"role": "rank"}))
    pod = wait_pod(name, is_over, "the end")
    color, mine, address, node, cpu, role, password, interface = command("logs", name).splitlines()
    assert (color, mine) == ("red", "very red $(COLOR) $(UNKNOWN)")
    assert (address, node) == (pod["status"]["podIP"], pod["spec"]["nodeName"])
    assert (cpu, role, password, interface) == ("250", "rank", "pass word", "lo")


def test_volumes_are_folders_at_their_paths(run: Run, wait_pod: Wait, command: Kubectl) -> None:
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    paths = ["/config/model.yaml", "/secrets/pw", "/info/labels", f"{account}/namespace", f"{account}/token"]
    mounts = {"config": "/config", "hidden": "/secrets", "info": "/info"}
    items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
    volumes = [
        {"name": "config", "configMap": {"name": "settings"}},
        {"name": "hidden", "secret": {"secretName": "hidden", "items": [{"key": "PASSWORD", "path": "pw"}]}},
        {"name": "info", "downwardAPI": {"items": items}},
    ]
    container = {
        "image": "python",
        "command": ["python", "-c", READ, *paths],
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in mounts.items()],
    }
    name = run(process_pod("reads", container, volumes=volumes, labels={"role": "reader"}))
    pod = wait_pod(name, is_over, "the end")
    seen = json.loads(command("logs", name))
    assert [seen[path] for path in paths[:4]] == ["layers: 3", "pass word", 'role="reader"\n', "default"]
    claims = json.loads(base64.urlsafe_b64decode(seen[paths[4]].split(".")[1] + "=="))
    assert claims["sub"] == "system:serviceaccount:default:default"
    assert claims["kubernetes.io"]["pod"]["uid"] == pod["metadata"]["uid"]


def test_the_machine_is_left_as_it_was(run: Run, wait_pod: Wait) -> None:
    mounts = [{"name": "data", "mountPath": "/muster-test/data"}, {"name": "data", "mountPath": "/etc/muster-test"}]
    script = (
        "echo x > /muster-test/data/x && test -f /etc/muster-test/x && test -d /usr/bin && grep -q root /etc/passwd"
    )
    container = {"image": "muster-host", "command": ["sh", "-c", script], "volumeMounts": mounts}
    name = run(process_pod("private", container, volumes=[{"name": "data", "emptyDir": {}}]))
    assert wait_pod(name, is_over, "the end")["status"]["phase"] == "Succeeded"
    assert not Path("/muster-test").exists()
    assert not Path("/etc/muster-test").exists()


def test_a_missing_configmap_is_waited_for(run: Run, wait_pod: Wait, command: Kubectl) -> None:
    container = {"image": "muster-host", "command": ["true"], "envFrom": [{"configMapRef": {"name": "later"}}]}
    name = run(process_pod("patient", container))

    def is_waiting(pod: Pod) -> bool:
        states = [entry["state"] for entry in pod["status"].get("containerStatuses") or []]
        return any(state.get("waiting", {}).get("reason") == "CreateContainerConfigError" for state in states)

    wait_pod(name, is_waiting, "the reason")
    command("create", "configmap", "later", "--from-literal=A=1")
    assert wait_pod(name, is_over, "the end")["status"]["phase"] == "Succeeded"


def test_claims_outlive_their_pods(run: Run, wait_pod: Wait, command: Kubectl) -> None:
    claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Mi"}}, "storageClassName": ""}
    volume = {
        "capacity": {"storage": "1Mi"},
        "accessModes": ["ReadWriteMany"],
        "hostPath": {"path": "/unused"},
        "claimRef": {"namespace": "default", "name": "kept"},
    }
    for kind, name, spec in (("PersistentVolume", "kept", volume), ("PersistentVolumeClaim", "kept", claim)):
        document = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        command("apply", "-f", "-", stdin=json.dumps(document))
    volumes = [{"name": "kept", "persistentVolumeClaim": {"claimName": "kept"}}]
    mounts = [{"name": "kept", "mountPath": "/kept"}]
    for number, script in enumerate(["echo remembered > /kept/note", "cat /kept/note"]):
        container = {"image": "muster-host", "command": ["sh", "-c", script], "volumeMounts": mounts}
        name = run(process_pod(f"keeper-{number}", container, volumes=volumes))
        assert wait_pod(name, is_over, "the end")["status"]["phase"] == "Succeeded"
    assert command("logs", "keeper-1") == "remembered\n"


LISTEN = """
import os, socket
with socket.create_server((os.environ["IP"], 29500)) as server:
    connection, peer = server.accept()
    with connection:
        print(connection.recv(100).decode())
"""
CONNECT = """
import socket, sys, time
for _ in range(300):
    try:
        with socket.create_connection((sys.argv[1], 29500), timeout=5) as connection:
            connection.sendall(socket.gethostname().encode())
            break
    except OSError:
        time.sleep(0.1)
else:
    raise SystemExit("never reached " + sys.argv[1])
"""


@pytest.mark.parametrize("target", ["duo-0.duo", "duo-0.duo.default.svc.cluster.local"])
def test_pods_of_a_headless_service_find_each_other(
    target: str, run: Run, wait_pod: Wait, api: Kube, command: Kubectl
) -> None:
    listen = {
        "image": "python",
        "command": ["python", "-c", LISTEN],
        "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
    }
    connect = {"image": "python", "command": ["python", "-c", CONNECT, target]}
    names = {"subdomain": "duo"}
    client = run(process_pod("duo-1", connect, hostname="duo-1", nodeName="process-node-1", **names))
    server = run(process_pod("duo-0", listen, hostname="duo-0", nodeName="process-node-0", **names))
    for name in (client, server):
        assert wait_pod(name, is_over, "the end")["status"]["phase"] == "Succeeded"
    assert command("logs", server) == "duo-1\n"


def of_job(pod: Pod) -> Pod:
    """As the controller makes it; there is no AIJob here, so that nobody looks for the owner."""
    pod["metadata"] |= {
        "labels": {"aiplatform.example.com/job": "train"},
        "ownerReferences": [
            {
                "apiVersion": "aiplatform.example.com/v1alpha1",
                "kind": "AIJob",
                "name": "train",
                "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
                "controller": True,
            }
        ],
    }
    return pod


def test_pods_of_one_job_share_a_place_for_checkpoints(run: Run, wait_pod: Wait, command: Kubectl) -> None:
    first = run(of_job(shell_pod("rank-0", "echo 7 > $MUSTER_CHECKPOINT_DIR/step", nodeName="process-node-0")))
    wait_pod(first, is_over, "the end")
    second = run(of_job(shell_pod("rank-1", "cat $MUSTER_CHECKPOINT_DIR/step", nodeName="process-node-1")))
    wait_pod(second, is_over, "the end")
    assert command("logs", second) == "7\n"
