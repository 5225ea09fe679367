"""Gives the event loop back every few milliseconds, so that long work never shows in a request's latency."""

from __future__ import annotations

import asyncio
import time


class Pacer:
    """Counts how long one has been working without letting others run."""

    __slots__ = ("_budget", "_until")

    def __init__(self, budget: float = 0.003) -> None:
        self._budget = budget
        self._until = time.perf_counter() + budget

    def is_due(self) -> bool:
        """Whether it is time to `rest`; asked per item, so that resting itself is called rarely."""
        return time.perf_counter() >= self._until

    async def rest(self) -> None:
        """Lets everything run that is ready."""
        await asyncio.sleep(0)
        self._until = time.perf_counter() + self._budget
