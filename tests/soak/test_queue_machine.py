"""The state machine of a pool, for longer and with other dice each time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from bones.queue_machine import QueueMachine
from bones.redis_servers import RedisServer, any_binary


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer(any_binary()) as server:
        yield server


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_no_order_of_events_breaks_a_queue_for_long(database_url: str, redis: RedisServer) -> None:
    QueueMachine.database_url, QueueMachine.redis = database_url, redis
    chosen = settings(
        max_examples=500,
        stateful_step_count=80,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(QueueMachine, settings=chosen)
