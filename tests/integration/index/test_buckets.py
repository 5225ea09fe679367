"""Token buckets on real servers."""

from __future__ import annotations

import pytest

from bones.redis_servers import RedisServer
from muster_queue.index.buckets import Rate, TenantBuckets
from muster_queue.index.calls import Calls

SLOW = Rate(per_second=0.01, burst=10)


@pytest.fixture
def buckets(calls: Calls) -> TenantBuckets:
    return TenantBuckets(calls)


async def test_a_burst_passes_and_then_the_rate_holds(buckets: TenantBuckets) -> None:
    answers = [await buckets.charge("team", "submit", SLOW, 4) for _ in range(3)]
    assert [answer.allowed for answer in answers] == [True, True, False]
    assert [answer.remaining for answer in answers] == [6, 2, 2]
    assert answers[2].retry_after_seconds == pytest.approx(200, abs=10)
    assert (await buckets.charge("team", "submit", SLOW, 2)).allowed


async def test_a_refused_call_costs_nothing(buckets: TenantBuckets) -> None:
    await buckets.charge("team", "submit", SLOW, 9)
    waits = [(await buckets.charge("team", "submit", SLOW, 5)).retry_after_seconds for _ in range(3)]
    assert waits == sorted(waits, reverse=True)


async def test_tenants_and_kinds_do_not_disturb_each_other(buckets: TenantBuckets) -> None:
    await buckets.charge("team", "submit", SLOW, 10)
    assert not (await buckets.charge("team", "submit", SLOW)).allowed
    assert (await buckets.charge("team", "read", SLOW)).allowed
    assert (await buckets.charge("other", "submit", SLOW)).allowed


async def test_a_call_dearer_than_the_burst_waits_for_a_full_bucket(buckets: TenantBuckets) -> None:
    assert (await buckets.charge("team", "bulk", SLOW, 25)).allowed
    after = await buckets.charge("team", "bulk", SLOW)
    assert not after.allowed
    assert after.retry_after_seconds == pytest.approx(1600, abs=10)
    await buckets.charge("other", "bulk", SLOW)
    refused = await buckets.charge("other", "bulk", SLOW, 25)
    assert not refused.allowed
    assert refused.retry_after_seconds == pytest.approx(100, abs=10)


async def test_tokens_come_back_by_the_servers_clock(buckets: TenantBuckets) -> None:
    fast = Rate(per_second=10_000, burst=1)
    for _ in range(20):
        while not (await buckets.charge("team", "submit", fast)).allowed:
            pass


async def test_a_full_bucket_takes_no_room(buckets: TenantBuckets, server: RedisServer) -> None:
    await buckets.charge("team", "submit", SLOW)
    [key] = server.ask("KEYS", "*")
    assert 0 < server.ask("PTTL", key) <= 100_001
    await buckets.charge("team", "free", SLOW, 0)
