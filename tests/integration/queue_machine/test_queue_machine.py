"""Submit, cancel, hold, release, retry, lease, beat, acknowledge, fail, expire, wake, crash and flush, in any order."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from bones.queue_machine import QueueMachine
from bones.redis_servers import RedisServer

EXAMPLES, STEPS = 25, 40


@pytest.mark.timeout(600)
def test_no_order_of_events_breaks_a_queue(database_url: str, redis: RedisServer) -> None:
    QueueMachine.database_url, QueueMachine.redis = database_url, redis
    chosen = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(QueueMachine, settings=chosen)
