"""Each kind of server that this machine has, started once and emptied before each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import SecretStr

from bones.redis_servers import RedisServer, any_binary, server_binaries
from muster_queue.index.calls import Calls
from muster_queue.index.connection import IndexSettings
from muster_queue.index.keys import QueueKey
from muster_queue.index.queue_index import QueueIndex


@pytest.fixture(scope="session", params=sorted(server_binaries()) or ["none"])
def shared_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    binaries = server_binaries()
    with RedisServer(binaries[request.param] if binaries else any_binary()) as server:
        yield server


@pytest.fixture
def server(shared_server: RedisServer) -> RedisServer:
    shared_server.ask("FLUSHALL")
    return shared_server


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """For a test that ends it or spoils it."""
    with RedisServer(any_binary()) as server:
        yield server


@pytest.fixture
async def calls(server: RedisServer) -> AsyncIterator[Calls]:
    made = Calls.to(IndexSettings(url=SecretStr(server.url), call_timeout=20))
    yield made
    await made.close()


@pytest.fixture
def index(calls: Calls) -> QueueIndex:
    return QueueIndex(calls)


@pytest.fixture
def queue() -> QueueKey:
    return QueueKey("team", "gpu")
