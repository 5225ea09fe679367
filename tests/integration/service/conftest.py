"""The api over a database of the test's own and an emptied Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bones.redis_servers import RedisServer, any_binary
from bones.service_world import ServiceWorld, service_world


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    with RedisServer(any_binary()) as server:
        yield server


@pytest.fixture
def redis_url(shared_redis: RedisServer) -> str:
    shared_redis.ask("FLUSHALL")
    return shared_redis.url


@pytest.fixture
async def world(tmp_path: Path, app_url: str, redis_url: str) -> AsyncIterator[ServiceWorld]:
    async with service_world(tmp_path, app_url, redis_url) as running:
        yield running
