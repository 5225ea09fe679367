"""What a caller gets when the server is slow, full, gone, strange, or has forgotten the scripts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import SecretStr

from bones.redis_servers import RedisServer, any_binary
from muster_queue.index.calls import Calls
from muster_queue.index.connection import IndexSettings, RedisMode
from muster_queue.index.errors import IndexAway, IndexFull, IndexMisused
from muster_queue.index.keys import QueueKey
from muster_queue.index.queue_index import QueueIndex
from muster_queue.index.values import Entry

ONE = [Entry("job", 1)]


@pytest.fixture
async def own(own_server: RedisServer) -> AsyncIterator[QueueIndex]:
    calls = Calls.to(IndexSettings(url=SecretStr(own_server.url), connections=2, call_timeout=3))
    yield QueueIndex(calls)
    await calls.close()


async def test_scripts_that_the_server_has_forgotten_are_taught_again(own: QueueIndex, own_server: RedisServer) -> None:
    queue = QueueKey("team", "gpu")
    await own.add(queue, ONE)
    own_server.ask("SCRIPT", "FLUSH")
    assert await own.add(queue, ONE) == 0
    own_server.kill()
    own_server.start()
    assert await own.add(queue, [Entry("other", 2)]) == 1


async def test_a_hanging_server_is_away_and_then_back(own: QueueIndex, own_server: RedisServer) -> None:
    queue = QueueKey("team", "gpu")
    await own.add(queue, ONE)
    own_server.pause()
    failures = await asyncio.gather(*(own.add(queue, ONE) for _ in range(6)), return_exceptions=True)
    assert {type(failure) for failure in failures} == {IndexAway}
    own_server.resume()
    assert await own.add(queue, ONE) == 0


async def test_a_server_that_is_gone_is_away(own: QueueIndex, own_server: RedisServer) -> None:
    own_server.kill()
    with pytest.raises(IndexAway, match="add"):
        await own.add(QueueKey("team", "gpu"), ONE)


async def test_a_wrong_password_is_away_and_is_not_told(own_server: RedisServer) -> None:
    url = own_server.url.replace("only-for-this-test", "wrong-secret")
    calls = Calls.to(IndexSettings(url=SecretStr(url)))
    with pytest.raises(IndexAway) as caught:
        await QueueIndex(calls).add(QueueKey("team", "gpu"), ONE)
    assert "wrong-secret" not in str(caught.value)
    await calls.close()


async def test_a_key_that_somebody_else_wrote_is_named_as_misuse(index: QueueIndex, server: RedisServer) -> None:
    queue = QueueKey("team", "gpu")
    server.ask("SET", queue.waiting, "nonsense")
    with pytest.raises(IndexMisused, match="WRONGTYPE"):
        await index.add(queue, ONE)


@pytest.fixture
def small_server() -> Iterator[RedisServer]:
    with RedisServer(any_binary(), maxmemory="3mb") as server:
        yield server


async def test_a_full_server_refuses_and_forgets_nothing(small_server: RedisServer) -> None:
    queue = QueueKey("team", "gpu")
    calls = Calls.to(IndexSettings(url=SecretStr(small_server.url), call_timeout=20))
    index = QueueIndex(calls)
    added = 0
    with pytest.raises(IndexFull):
        while True:
            added += await index.add(queue, [Entry(f"{added + number:036}", number) for number in range(500)])
    depth = await index.measure(queue)
    assert depth.waiting == added
    assert len((await index.take(queue, 10, 60)).entries) == 10 or added == 0
    await calls.close()


def test_sentinels_have_to_be_named() -> None:
    with pytest.raises(ValueError, match="name at least one"):
        IndexSettings(url=SecretStr("redis://localhost"), mode=RedisMode.SENTINEL)


def test_a_password_is_not_printed() -> None:
    assert "hush" not in repr(IndexSettings(url=SecretStr("redis://:hush@localhost")))


async def test_a_cancellation_that_comes_with_a_sent_command_is_not_lost(index: QueueIndex, queue: QueueKey) -> None:
    """Python 3.11's `wait_for`, which the client sends with, loses one that comes in the same step."""

    async def ask_for_ever() -> None:
        while True:
            await index.measure(queue)

    for steps in range(40):
        asking = asyncio.create_task(ask_for_ever())
        for _ in range(steps):
            await asyncio.sleep(0)
        asking.cancel()
        _, hanging = await asyncio.wait([asking], timeout=1)
        asking.cancel()
        assert not hanging, f"after {steps} steps"
