"""Token buckets of tenants: whether a call may go on, decided before any work is done."""

from __future__ import annotations

import math

import msgspec

from muster_queue.index.calls import Calls
from muster_queue.index.keys import bucket_key
from muster_queue.index.values import Charge

_MICROSECONDS = 1_000_000


class Rate(msgspec.Struct, frozen=True):
    """What one tenant may do: so many a second, and so many at once after a rest."""

    per_second: float
    burst: int

    def __post_init__(self) -> None:
        if not (self.per_second > 0 and math.isfinite(self.per_second) and self.burst >= 1):
            raise ValueError(f"a rate must be positive, with a burst of at least 1: {self}")


class TenantBuckets:
    """One bucket for each tenant and kind of call, on the server's clock, shared by all replicas."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def charge(self, namespace: str, name: str, rate: Rate, cost: int = 1) -> Charge:
        """Takes tokens, or none at all when there are too few.

        A call dearer than the whole burst passes when the bucket is full; its debt is worked off before the next.
        """
        arguments = (f"{_MICROSECONDS / rate.per_second:.6f}", rate.burst, max(cost, 0))
        allowed, remaining, wait = await self._calls.run("charge", (bucket_key(namespace, name),), arguments)
        return Charge(bool(allowed), remaining, wait / _MICROSECONDS)
