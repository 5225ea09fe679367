from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bones.pool_world import PoolWorld, pool_world
from bones.redis_servers import RedisServer, any_binary


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    with RedisServer(any_binary()) as server:
        yield server


@pytest.fixture
def redis(shared_redis: RedisServer) -> RedisServer:
    if not shared_redis.answers():
        shared_redis.start()
    shared_redis.ask("FLUSHALL")
    return shared_redis


@pytest.fixture
async def world(tmp_path: Path, app_url: str, redis: RedisServer) -> AsyncIterator[PoolWorld]:
    async with pool_world(tmp_path, app_url, redis) as running:
        yield running
