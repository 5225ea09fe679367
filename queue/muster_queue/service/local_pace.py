"""Token buckets in memory, for as long as the shared ones cannot be reached."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from muster_queue.identity.pace import Pace

MOST_TENANTS: Final = 100_000


class LocalPace:
    """One bucket for each tenant; time is passed in. A call dearer than a full bucket passes when it is full."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def wait_for(self, tenant: str, cost: int, now: float) -> float:
        """Zero when the tokens were taken, else in how many seconds they are there."""
        full = max(now, self._full_at.get(tenant, 0.0))
        after = full + cost / self._pace.rate
        wait = min(after - now - self._pace.burst / self._pace.rate, full - now)
        if wait > 0:
            return wait
        self._full_at[tenant] = after
        self._full_at.move_to_end(tenant)
        if len(self._full_at) > MOST_TENANTS:
            self._full_at.popitem(last=False)
        return 0.0
