"""The stores as components of an instance: started, hurt and ended like the others."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from redis import Redis
from redis.exceptions import RedisError

from muster_local import instance as records
from muster_local.cluster import Cluster
from muster_local.components import STORES
from muster_local.errors import LocalError
from muster_local.layout import cache_dir
from muster_local.options import ClusterOptions, with_changes
from muster_local.ports import claim_block
from muster_local.stores.finding import find_postgres, find_redis


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    try:
        find_postgres()
        find_redis()
    except LocalError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    made = Cluster(tmp_path / "state")
    made.layout.make()
    options = ClusterOptions(stores=True, muster=False)
    first_port = claim_block(made.layout.root, cache_dir() / "ports")
    records.save(made.layout, records.new_instance(options, first_port))
    yield made
    made.down(purge=True)


def test_stores_are_components_like_others(cluster: Cluster) -> None:
    cluster.start("redis")
    cluster.start("postgres")
    status = {part.name: part for part in cluster.status().components if part.running}
    assert list(status) == ["postgres", "redis"]
    assert status["redis"].url.startswith("redis://127.0.0.1:")
    assert status["postgres"].url.startswith("postgresql://127.0.0.1:")
    assert "@" not in "".join(part.url for part in status.values())
    with pytest.raises(LocalError, match="runs already"):
        cluster.start("redis")
    assert "ready to accept connections" in cluster.log_path("postgres").read_text()


def test_a_killed_store_comes_back_with_its_data(cluster: Cluster) -> None:
    cluster.start("redis")
    with Redis.from_url(cluster.store_url("redis"), decode_responses=True) as client:
        client.config_set("appendfsync", "always")
        client.set("kept", "yes")
        cluster.kill("redis")
        with pytest.raises(RedisError):
            client.get("kept")
        cluster.start("redis")
        assert client.get("kept") == "yes"
    cluster.start("postgres")
    before = cluster.pid("postgres")
    cluster.kill("postgres")
    cluster.start("postgres")
    assert cluster.pid("postgres") != before
    assert "was not properly shut down; automatic recovery" in cluster.log_path("postgres").read_text()


def test_a_paused_postgres_does_nothing_at_all(cluster: Cluster) -> None:
    cluster.start("postgres")
    server = psutil.Process(cluster.pid("postgres"))
    members = [server, *server.children(recursive=True)]
    cluster.pause("postgres")
    while {member.status() for member in members} != {psutil.STATUS_STOPPED}:
        pass
    cluster.resume("postgres")
    assert psutil.STATUS_STOPPED not in {member.status() for member in members}
    cluster.stop("postgres")
    assert not any(member.is_running() for member in members[1:])
    assert "database system is shut down" in cluster.log_path("postgres").read_text()


def test_a_store_of_somebody_else_is_not_started(cluster: Cluster) -> None:
    instance = records.load(cluster.layout)
    instance.options = with_changes(instance.options, {"redis_url": "redis://:hush@elsewhere"})
    records.save(cluster.layout, instance)
    with pytest.raises(LocalError, match="somebody else"):
        cluster.start("redis")
    assert "hush" not in str(cluster.status())
    assert [part.name for part in cluster.status().components if part.name in STORES] == ["postgres"]


def test_addresses_are_kept_from_others_and_removed_at_the_end(cluster: Cluster) -> None:
    with pytest.raises(LocalError, match="--stores"):
        cluster.store_url("redis")
    cluster.start("redis")
    cluster.start("postgres")
    files = list(cluster.layout.stores.glob("*.url"))
    assert len(files) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    data = Path(psutil.Process(cluster.pid("postgres")).cmdline()[2])
    cluster.down(purge=True)
    assert not data.exists()
    assert not cluster.layout.root.exists()
