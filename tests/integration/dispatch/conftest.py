"""A control plane whose controller keeps jobs in stores of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bones.backlog import Backlog
from bones.control_plane import SHORT_LEASE, Kubectl, start_cluster
from bones.job_stage import JobStage
from bones.kube import Kube
from bones.postgres import PostgresServer, start_or_skip
from bones.queue_service import WINDOW, Service
from bones.redis_servers import RedisServer, any_binary
from bones.stage import Stage
from muster_local.cluster import Cluster
from muster_queue.storage.migrations.runner import upgrade


@pytest.fixture(scope="session")
def own_postgres() -> Iterator[PostgresServer]:
    server = start_or_skip()
    yield server
    server.destroy()


@pytest.fixture(scope="session")
def service_url(own_postgres: PostgresServer) -> str:
    name = own_postgres.create_database()
    upgrade(own_postgres.url(name))
    return own_postgres.app_url(name)


@pytest.fixture(scope="session")
def whole_service(
    own_postgres: PostgresServer, service_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    with RedisServer(any_binary()) as redis:
        environment = {
            **SHORT_LEASE,
            "MUSTER_DATABASE_URL": service_url,
            "MUSTER_REDIS_URL": redis.url,
            "MUSTER_DISPATCH_WINDOW": str(WINDOW),
        }
        cluster = start_cluster(tmp_path_factory.mktemp("dispatch"), nodes=0, controller=environment)
        yield Service(cluster, own_postgres, redis, environment)
        cluster.down()


@pytest.fixture
def service(whole_service: Service) -> Iterator[Service]:
    whole_service.heal()
    yield whole_service
    whole_service.heal()


@pytest.fixture(scope="session")
def cluster(whole_service: Service) -> Cluster:
    return whole_service.cluster


@pytest.fixture(scope="session")
def kube(cluster: Cluster) -> Iterator[Kube]:
    client = Kube(cluster.kubeconfig())
    yield client
    client.close()


@pytest.fixture(scope="session")
def kubectl(cluster: Cluster) -> Kubectl:
    return Kubectl(cluster)


@pytest.fixture
def backlog(service: Service, service_url: str) -> Backlog:
    return Backlog(service_url)


@pytest.fixture
def jobs(stage: Stage, service: Service) -> Iterator[JobStage]:
    made = JobStage(stage)
    yield made
    service.heal()
    stage.clear()
    made.strike()
