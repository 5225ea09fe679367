"""What gang scheduling costs the leader for each gang: its looks at it and its share of plans, until the commit."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Histogram

from muster_api.phases import GangPhase
from muster_queue.controller.backlog import Owner
from muster_queue.controller.groups import UNDER_WAY, Group, GroupKey

BEFORE_COMMIT = (GangPhase.PENDING, GangPhase.RESERVED, GangPhase.RELEASED)


class LeaderTime:
    """Adds up the seconds of each gang that is on its way; single pods are not counted."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._spent: dict[GroupKey, float] = {}

    def looked(self, group: Group, seconds: float) -> None:
        """A look at it took so long; the first one after its commit closes the account."""
        gang = group.gang
        if gang is not None and gang.status.phase in UNDER_WAY:
            spent = self._spent.pop(group.key, None)
            if spent is not None:
                self._histogram.observe(spent)
        elif gang is None or gang.status.phase in BEFORE_COMMIT:
            self._spend(group.key, seconds)

    def planned(self, owners: Iterable[Owner], seconds: float) -> None:
        """A plan for all that waited took so long."""
        everyone = list(owners)
        for owner in everyone:
            if isinstance(owner, tuple):
                self._spend(owner, seconds / len(everyone))

    def forget(self, key: GroupKey) -> None:
        self._spent.pop(key, None)

    def _spend(self, key: GroupKey, seconds: float) -> None:
        self._spent[key] = self._spent.get(key, 0.0) + seconds
