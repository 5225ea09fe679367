"""Breaks hot loops: a pod that is rejected more often than its back-off explains gets errors for a while.

A rejection is silent only while the scheduler's own message stays the same, and that counts nodes per reason, which
changes under load and wakes the pod again at once. An error puts it into the error back-off instead.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FuseRules:
    """How many rejections in how many seconds blow it, and for how long."""

    most_rejections: int = 6
    window: float = 2.0
    blown_for: float = 10.0


@dataclass(slots=True)
class _Rejections:
    count: int
    since: float
    blown_until: float = 0.0


class Fuse:
    """One per pod, by uid."""

    def __init__(self, rules: FuseRules) -> None:
        self._rules = rules
        self._pods: dict[str, _Rejections] = {}

    def reject(self, uid: str, now: float) -> bool:
        """Counts a rejection; true while it has to be answered as an error."""
        seen = self._pods.get(uid)
        if seen is None:
            self._pods[uid] = _Rejections(1, now)
            return False
        if now < seen.blown_until:
            return True
        if now - seen.since > self._rules.window:
            seen.count, seen.since = 0, now
        seen.count += 1
        if seen.count > self._rules.most_rejections:
            seen.count, seen.since, seen.blown_until = 0, now, now + self._rules.blown_for
            return True
        return False

    def forget(self, uid: str) -> None:
        """The pod was accepted or is gone."""
        self._pods.pop(uid, None)
