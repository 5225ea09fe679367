"""One small control plane with two process nodes for all tests here; at the end nothing of it may be left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from bones.control_plane import Kubectl, start_cluster
from bones.kube import Kube
from muster_local.cluster import Cluster

GRACE_SECONDS = 8
"""Of the node monitor: a silent node is NotReady after that."""

PodDocument = dict[str, Any]


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = start_cluster(
        tmp_path_factory.mktemp("machine"),
        muster=False,
        nodes=1,
        process_nodes=2,
        node_grace_seconds=GRACE_SECONDS,
        backoff_scale=0.02,
    )
    yield running
    running.down()
    assert processes_below(running.layout.root) == []
    assert str(running.layout.root) not in Path("/proc/self/mountinfo").read_text()


def processes_below(folder: Path) -> list[str]:
    """Command lines, folders and environments that name the folder."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.cwd()]
        except psutil.Error:
            continue
        if process.pid != psutil.Process().pid and any(str(folder) in word for word in words):
            found.append(" ".join(words))
    return found


@pytest.fixture(scope="session")
def api(machine: Cluster) -> Iterator[Kube]:
    client = Kube(machine.kubeconfig())
    yield client
    client.close()


@pytest.fixture(scope="session")
def command(machine: Cluster) -> Kubectl:
    return Kubectl(machine)


@pytest.fixture
def run(api: Kube) -> Iterator[Callable[[PodDocument], str]]:
    """Creates a pod and answers its name; what a test leaves behind is deleted."""
    names: list[str] = []

    def create(document: PodDocument) -> str:
        name = str(api.create(document)["metadata"]["name"])
        names.append(name)
        return name

    yield create
    for name in names:
        api.delete("pods", name, "default", grace=0)
    api.wait_for("pods", lambda pods: not set(names) & set(pods), namespace="default", what="pods to be gone")


@pytest.fixture
def wait_pod(api: Kube) -> Callable[..., PodDocument]:
    """Waits until a pod's status is as wanted, and returns the pod."""

    def wait(name: str, wanted: Callable[[PodDocument], Any], what: str, timeout: float = 30) -> PodDocument:
        pods = api.wait_for(
            "pods", lambda pods: name in pods and wanted(pods[name]), namespace="default", what=what, timeout=timeout
        )
        return pods[name]

    return wait
