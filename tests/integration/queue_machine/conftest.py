from __future__ import annotations

from collections.abc import Iterator

import pytest

from bones.redis_servers import RedisServer, any_binary


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    with RedisServer(any_binary()) as server:
        yield server
