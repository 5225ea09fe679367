"""When a Lease may be taken, by nothing but what was seen and how long ago by one's own clock."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bones.clock import ManualClock
from muster_api.objects import ObjectMeta
from muster_kube.lease import Lease, LeaseSpec, Observation, may_take


def seen(version: str, holder: str | None, duration: int | None = 15) -> Lease:
    spec = LeaseSpec(holder_identity=holder, lease_duration_seconds=duration, renew_time="1999-01-01T00:00:00.000000Z")
    return Lease(metadata=ObjectMeta(name="lease", resource_version=version), spec=spec)


@pytest.mark.parametrize(
    ("holder", "duration", "waited", "expected"),
    [
        pytest.param("other", 15, 14.9, False, id="the holder has time left"),
        pytest.param("other", 15, 15.1, True, id="the holder was silent too long"),
        pytest.param("other", 60, 30.0, False, id="the holder promised a longer time than ours"),
        pytest.param("other", 1, 10.0, False, id="never sooner than our own duration"),
        pytest.param("", 15, 0.0, True, id="given back"),
        pytest.param(None, None, 0.0, True, id="never held"),
        pytest.param("me", 15, 0.0, True, id="our own, of which the answer was lost"),
    ],
)
def test_who_may_take_it(holder: str | None, duration: int | None, waited: float, expected: bool) -> None:
    clock, observation = ManualClock(), Observation()
    observation.update(seen("1", holder, duration), clock.monotonic())
    clock.advance(waited)
    observation.update(seen("1", holder, duration), clock.monotonic())
    assert may_take(observation, "me", 15.0, clock.monotonic()) is expected


def test_each_renewal_starts_the_holders_time_anew() -> None:
    clock, observation = ManualClock(), Observation()
    for version in range(10):
        observation.update(seen(str(version), "other"), clock.monotonic())
        clock.advance(10)
        assert not may_take(observation, "me", 15.0, clock.monotonic())


def test_wall_clocks_change_nothing() -> None:
    clock, observation = ManualClock(), Observation()
    observation.update(seen("1", "other"), clock.monotonic())
    clock.set_wall_clock(clock.now() + timedelta(days=1))
    assert not may_take(observation, "me", 15.0, clock.monotonic())
