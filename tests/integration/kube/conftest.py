"""A small control plane of its own for the tests of muster_kube: they restart and compact it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import yaml

from bones.tcp_fault_proxy import FaultProxy

if TYPE_CHECKING:
    from muster_kube.session import ApiSession
    from muster_kube.writer import Writer
    from muster_local.cluster import Cluster

ONLY_THE_API_SERVER = ("kube-controller-manager", "kube-scheduler", "kwok", "webhook", "extender", "controller")


@pytest.fixture(scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """etcd and kube-apiserver, nothing else."""
    from bones.control_plane import start_cluster

    running = start_cluster(tmp_path_factory.mktemp("api-server"), nodes=0, without=ONLY_THE_API_SERVER)
    yield running
    running.down()


@pytest.fixture
async def session(api_server: Cluster) -> AsyncIterator[ApiSession]:
    from muster_kube.session import ApiSession

    async with await ApiSession.connect(api_server.kubeconfig()) as session:
        yield session


@pytest.fixture
def writer(session: ApiSession) -> Writer:
    from muster_kube.writer import Writer

    return Writer(session)


@pytest.fixture
async def namespace(writer: Writer, request: pytest.FixtureRequest) -> str:
    """A namespace of the test's own; the control plane goes away as a whole."""
    from uuid import uuid4

    name = f"kube-{uuid4().hex[:10]}"
    await writer.create("/api/v1/namespaces", {"metadata": {"name": name}})
    return name


@pytest.fixture
async def proxy(api_server: Cluster) -> AsyncIterator[FaultProxy]:
    """Between the test's reflector and the API server."""
    address = urlsplit(api_server.url("kube-apiserver"))
    async with FaultProxy(str(address.hostname), int(address.port or 0), seed=1) as proxy:
        yield proxy


@pytest.fixture
async def frail_session(api_server: Cluster, proxy: FaultProxy, tmp_path: Path) -> AsyncIterator[ApiSession]:
    """A session through the proxy."""
    from muster_kube.session import ApiSession

    config = yaml.safe_load(api_server.kubeconfig().read_text())
    for cluster in config["clusters"]:
        cluster["cluster"]["server"] = f"https://127.0.0.1:{proxy.port}"
    path = api_server.kubeconfig().parent / f"proxied-{proxy.port}.yaml"
    path.write_text(yaml.safe_dump(config))
    async with await ApiSession.connect(path) as session:
        yield session
    path.unlink()
