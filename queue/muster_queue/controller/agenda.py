"""What has to be looked at again and when: each key once, at the earliest moment asked for, never too often."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Agenda(Generic[K]):
    """A set of keys with due times. A key that changes all the time is looked at once per spacing, not per change."""

    def __init__(self) -> None:
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._number = 0
        self._looked: dict[K, float] = {}

    def __len__(self) -> int:
        return len(self._due)

    def mark(self, key: K, now: float, spacing: float = 0.0) -> bool:
        """Look at it as soon as its last look is `spacing` ago; true when that is earlier than was planned."""
        last = self._looked.get(key)
        return self.mark_at(key, now if last is None else max(now, last + spacing))

    def mark_at(self, key: K, due: float) -> bool:
        """Look at it then at the latest; true when that is earlier than was planned."""
        known = self._due.get(key)
        if known is not None and known <= due:
            return False
        self._due[key] = due
        self._number += 1
        heapq.heappush(self._heap, (due, self._number, key))
        return True

    def next_due(self) -> float | None:
        """When the next key is due; None when nothing is marked."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float) -> list[K]:
        """The keys due by now, each unmarked and counted as looked at, in the order of their due times."""
        taken: list[K] = []
        while (due := self.next_due()) is not None and due <= now:
            key = heapq.heappop(self._heap)[2]
            del self._due[key]
            self._looked[key] = now
            taken.append(key)
        return taken

    def forget(self, key: K) -> None:
        """The key is gone for good."""
        self._due.pop(key, None)
        self._looked.pop(key, None)
