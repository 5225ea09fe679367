"""The same calls on a cluster of three nodes and on a set of servers that fails over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import SecretStr

from bones.index_truth import WrittenTruth
from bones.redis_servers import (
    PASSWORD,
    RedisServer,
    SentinelServer,
    any_binary,
    cluster_node,
    eventually,
    form_cluster,
    free_port,
)
from muster_queue.index.buckets import Rate, TenantBuckets
from muster_queue.index.calls import Calls
from muster_queue.index.connection import IndexSettings, RedisMode
from muster_queue.index.errors import IndexAway
from muster_queue.index.judgement import Doubt
from muster_queue.index.keys import QueueKey
from muster_queue.index.queue_index import QueueIndex
from muster_queue.index.reconciler import Reconciler
from muster_queue.index.values import Answer, Entry, Lease

QUEUES = [QueueKey("team", f"queue-{number}") for number in range(12)]
FAR = 3600.0


def entries(queue: QueueKey) -> list[Entry]:
    return [Entry(f"{queue.name}-{number:02}", number) for number in range(20)]


async def nothing_lost(index: QueueIndex, queues: list[QueueKey]) -> None:
    for queue in queues:
        taken = (await index.take(queue, 50, FAR)).entries
        assert list(taken) == entries(queue)
        answers = await index.acknowledge(queue, [Lease(entry.job, entry.attempt) for entry in taken])
        assert answers == [Answer.DONE] * 20


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[RedisServer]]:
    binary = any_binary()
    servers = [cluster_node(binary) for _ in range(3)]
    try:
        for server in servers:
            server.start()
        form_cluster(servers)
        yield servers
    finally:
        for server in servers:
            server.remove()


@pytest.fixture
async def clustered(nodes: list[RedisServer]) -> AsyncIterator[Calls]:
    for node in nodes:
        node.ask("FLUSHALL")
    calls = Calls.to(IndexSettings(url=SecretStr(nodes[0].url), mode=RedisMode.CLUSTER, call_timeout=20))
    yield calls
    await calls.close()


@pytest.fixture
def truth() -> WrittenTruth:
    made = WrittenTruth()
    for queue in QUEUES:
        made.put(queue, *entries(queue))
    return made


async def test_a_cluster_holds_each_queue_on_one_node(clustered: Calls, nodes: list[RedisServer]) -> None:
    index = QueueIndex(clustered)
    for queue in QUEUES:
        assert await index.add(queue, entries(queue)) == 20
    assert all(node.ask("DBSIZE") > 0 for node in nodes)
    await nothing_lost(index, QUEUES)
    assert (await TenantBuckets(clustered).charge("team", "submit", Rate(1, 10))).allowed


async def test_a_cluster_that_loses_a_nodes_memory_is_mended(
    clustered: Calls, nodes: list[RedisServer], truth: WrittenTruth
) -> None:
    reconciler, index = Reconciler(clustered, truth), QueueIndex(clustered)
    assert all(repair.complete for repair in await reconciler.round())
    assert await reconciler.round() == []
    nodes[2].ask("FLUSHALL")
    repairs = await reconciler.round()
    assert 0 < len(repairs) <= len(QUEUES)
    assert {(repair.doubt, repair.complete) for repair in repairs} == {(Doubt.EMPTIED, True)}
    await nothing_lost(index, QUEUES)


@pytest.fixture
def watched() -> Iterator[tuple[RedisServer, RedisServer, SentinelServer]]:
    binary = any_binary()
    first = RedisServer(binary, port=free_port())
    second = RedisServer(binary, port=free_port(), replicaof=f"127.0.0.1 {first.port}")
    sentinel = SentinelServer(binary, first)
    try:
        for server in (first, second, sentinel):
            server.start()
        eventually(lambda: "master_link_status:up" in second.ask("INFO", "replication"), "replication")
        eventually(lambda: len(sentinel.ask("SENTINEL", "REPLICAS", "muster")) == 1, "the sentinel's view")
        yield first, second, sentinel
    finally:
        for server in (sentinel, second, first):
            server.remove()


async def test_a_failover_that_lost_the_last_writes_is_noticed_and_mended(
    watched: tuple[RedisServer, RedisServer, SentinelServer],
) -> None:
    first, second, sentinel = watched
    settings = IndexSettings(
        url=SecretStr(f"redis://:{PASSWORD}@ignored"),
        mode=RedisMode.SENTINEL,
        sentinels=(("127.0.0.1", sentinel.port),),
        sentinel_password=SecretStr(PASSWORD),
        call_timeout=5,
    )
    calls, truth, queue = Calls.to(settings), WrittenTruth(), QUEUES[0]
    index, reconciler = QueueIndex(calls), Reconciler(calls, truth)
    truth.put(queue, *entries(queue)[:10])
    assert all(repair.complete for repair in await reconciler.round())
    first.ask("WAIT", 1, 5000)
    second.pause()
    first.ask("CLIENT", "KILL", "TYPE", "replica")
    truth.put(queue, *entries(queue)[10:])
    assert await index.add(queue, entries(queue)[10:]) == 10
    first.kill()
    second.resume()
    eventually(lambda: "role:master" in second.ask("INFO", "replication"), "failover", 60)
    doubt = await after_failover(reconciler)
    assert doubt is Doubt.REPLACED
    [repair] = await reconciler.round()
    assert (repair.doubt, repair.added, repair.complete) == (Doubt.REPLACED, 10, True)
    assert await reconciler.glance() is None
    await nothing_lost(index, [queue])
    await calls.close()


async def after_failover(reconciler: Reconciler) -> Doubt | None:
    while True:
        try:
            return await reconciler.glance()
        except IndexAway:
            continue
