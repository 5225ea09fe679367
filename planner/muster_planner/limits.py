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
    amount: int


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

    def verdict(self, charges: Iterable[Charge]) -> Verdict | None:
        """The first limit that a gang with these charges would break."""
        for charge in charges:
            limit = self._limits.get(charge.limit)
            if limit is None:
                continue
            used = limit.used + self._taken.get(charge.limit, 0)
            found = replace(limit, used=used).verdict(charge.amount)
            if found is not None:
                return found
        return None

    def take(self, charges: Iterable[Charge]) -> None:
        for charge in charges:
            self._taken[charge.limit] = self._taken.get(charge.limit, 0) + charge.amount
