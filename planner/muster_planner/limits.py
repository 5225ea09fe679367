"""Limits that gangs share beside the room on nodes: jobs of a queue, jobs and GPUs of a part of the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from muster_api.reasons import Reason
from muster_planner.verdict import Verdict

LimitKey: TypeAlias = tuple[str, str, str]
"""What kind of limit it is, and namespace and name of the object that sets it."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What one gang takes of a limit while it holds its places."""

    limit: LimitKey
    amount: int = 0
    each: int = 0
    """As much again for every member that has a place."""

    def of(self, members: int) -> int:
        """What so many members take."""
        return self.amount + self.each * members


@dataclass(frozen=True, slots=True)
class Limit:
    """So much at once, of which so much is taken; `name` and `unit` are for people."""

    most: int
    used: int
    name: str
    unit: str
    reason: Reason

    def verdict(self, amount: int) -> Verdict | None:
        """Why a gang that takes this much has to wait; None when it need not."""
        if self.used + amount <= self.most:
            return None
        allowed = f"{self.name} allows {self.most} {self.unit}"
        if amount > self.most:
            return Verdict(self.reason, f"{allowed} and this job needs {amount}", permanent=True)
        return Verdict(self.reason, f"{allowed} and {self.used} are taken; this job needs {amount}")


class Ledger:
    """The limits of one plan as its gangs use them up."""

    def __init__(self, limits: Mapping[LimitKey, Limit]) -> None:
        self._limits = limits
        self._taken: dict[LimitKey, int] = {}

    def verdict(self, charges: Iterable[Charge], members: int) -> Verdict | None:
        """The first limit that so many members of a gang with these charges would break."""
        for charge in charges:
            limit = self._limits.get(charge.limit)
            found = None if limit is None else self._left(charge.limit, limit).verdict(charge.of(members))
            if found is not None:
                return found
        return None

    def most_members(self, charges: Iterable[Charge], members: int) -> int:
        """How many of these members no limit keeps out."""
        for charge in charges:
            limit = self._limits.get(charge.limit)
            if limit is not None and charge.each:
                left = self._left(charge.limit, limit)
                members = min(members, (left.most - left.used - charge.amount) // charge.each)
        return max(0, members)

    def take(self, charges: Iterable[Charge], members: int) -> None:
        for charge in charges:
            self._taken[charge.limit] = self._taken.get(charge.limit, 0) + charge.of(members)

    def _left(self, key: LimitKey, limit: Limit) -> Limit:
        return replace(limit, used=limit.used + self._taken.get(key, 0))
