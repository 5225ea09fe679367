"""A real API server and controller, and nobody else: the test plays the others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bones.control_plane import start_cluster
from bones.kube import Kube
from bones.playing import ENVIRONMENT, OF, Playing
from muster_api import names
from muster_local.cluster import Cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The controller alone, with short deadlines."""
    away = ("webhook", "extender", "kube-scheduler", "kwok")
    running = start_cluster(tmp_path_factory.mktemp("queue"), nodes=0, without=away, controller=ENVIRONMENT)
    yield running
    running.down()


@pytest.fixture(scope="session")
def extender(cluster: Cluster) -> Iterator[Kube]:
    """Speaks as the extender, which does not run here."""
    client = Kube(cluster.kubeconfig())
    client.impersonate(f"system:serviceaccount:{names.SYSTEM_NAMESPACE}:{names.EXTENDER_ACCOUNT}")
    yield client
    client.close()


@pytest.fixture(scope="session")
def controller(cluster: Cluster) -> Iterator[Kube]:
    """Speaks as the controller: nobody else makes Gangs."""
    client = Kube(cluster.kubeconfig("controller"))
    yield client
    client.close()


@pytest.fixture
def play(kube: Kube, extender: Kube, controller: Kube, request: pytest.FixtureRequest) -> Iterator[Playing]:
    words = request.function.__name__.removeprefix("test_").replace("_", "-")
    own = Playing(kube, extender, controller, f"q-{words[:40].strip('-')}")
    yield own
    kube.delete("namespaces", own.namespace)
    for node in kube.items("nodes", selector=f"{OF}={own.namespace}"):
        kube.delete("nodes", node)
