"""Fixtures of all tests: one real control plane a run, and for each test a stage of its own with a judge beside it."""

from __future__ import annotations

import re
import signal
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from bones.control_plane import Faults, Kubectl
    from bones.judging import JudgeProcess
    from bones.kube import Kube
    from bones.postgres import PostgresServer
    from bones.stage import Stage
    from muster_local.cluster import Cluster

FAILED = pytest.StashKey[bool]()


def pytest_configure() -> None:
    """A run that is told to end takes its control planes with it, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Leave a note of a failed test for its fixtures: what failed already is not judged as well."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The shared control plane, without simulated nodes: each test brings its own."""
    from bones.control_plane import start_cluster

    running = start_cluster(tmp_path_factory.mktemp("control-plane"), nodes=0)
    yield running
    running.down()


@pytest.fixture(scope="session")
def kube(cluster: Cluster) -> Iterator[Kube]:
    from bones.kube import Kube

    client = Kube(cluster.kubeconfig())
    yield client
    client.close()


@pytest.fixture(scope="session")
def kubectl(cluster: Cluster) -> Kubectl:
    from bones.control_plane import Kubectl

    return Kubectl(cluster)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The shared PostgreSQL server; whoever stops it starts it again."""
    from bones.postgres import start_or_skip

    server = start_or_skip()
    yield server
    server.destroy()


@pytest.fixture(scope="session")
def database_template(postgres: PostgresServer) -> str:
    """A database with the schema at its newest revision, to be copied."""
    from muster_queue.storage.migrations.runner import upgrade

    name = postgres.create_database()
    upgrade(postgres.url(name))
    return name


@pytest.fixture
def database_url(postgres: PostgresServer, database_template: str) -> Iterator[str]:
    """An empty database of the test's own, with the newest schema."""
    name = postgres.create_database(database_template)
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture
def app_url(postgres: PostgresServer, database_url: str) -> str:
    """The same database, as the services connect to it: with the least rights."""
    from psycopg.conninfo import conninfo_to_dict

    return postgres.app_url(str(conninfo_to_dict(database_url)["dbname"]))


@pytest.fixture
def stage(kube: Kube, kubectl: Kubectl, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A managed namespace of its own, cleaned away afterwards."""
    from bones.stage import Stage

    words = re.sub("[^a-z0-9]+", "-", request.function.__name__.removeprefix("test_").lower())
    own = Stage(kube, kubectl, words)
    yield own
    own.strike()


@pytest.fixture
def namespace(stage: Stage) -> str:
    return stage.namespace


@pytest.fixture
def judge(cluster: Cluster, stage: Stage, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[JudgeProcess]:
    """A judge beside the whole test; the test fails with the judge's verdict."""
    from bones.judging import JudgeProcess

    process = JudgeProcess(cluster.kubeconfig(), tmp_path).start()
    yield process
    if request.node.stash.get(FAILED, False):
        process.abandon()
    elif not process.report:
        process.verdict()


@pytest.fixture
def faults(cluster: Cluster, judge: JudgeProcess, tmp_path: Path) -> Iterator[Faults]:
    """Hurts components; all are whole again before the judge gives its verdict."""
    from bones.control_plane import Faults

    hurt = Faults(cluster, tmp_path / "failpoints.log")
    yield hurt
    hurt.heal()
