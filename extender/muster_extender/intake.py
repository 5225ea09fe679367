"""Takes in what the caches tell, in order and in small pieces, so that the event loop turns all the while.

A hundred thousand pods take seconds to read and verify. In one piece that would look to the watchdog like a server that
hangs, and it would be killed and begin anew for ever.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

STEPS_IN_A_ROW: Final = 64

Step = Callable[[], None]


class Intake:
    """Collects at first; from the first time that it has caught up, a change takes effect at once while none waits."""

    def __init__(self) -> None:
        self.is_behind = True
        """Whether the state is older than the caches: nothing is to be decided on it."""
        self._waiting: deque[Step] = deque()
        self._has_work = asyncio.Event()

    def ordered(self, handler: Callable[..., None]) -> Callable[..., None]:
        """The same handler, never called before what was told earlier has been taken in."""

        def take(*changed: Any) -> None:
            if self.is_behind:
                self._waiting.append(partial(handler, *changed))
            else:
                handler(*changed)

        return take

    def defer(self, steps: Iterable[Step]) -> None:
        """Much to do, one step after another."""
        self._waiting.extend(steps)
        self.is_behind = bool(self._waiting) or self.is_behind
        self._has_work.set()

    async def catch_up(self) -> None:
        """Does what waits, and what comes to wait meanwhile."""
        while self._waiting:
            for _ in range(min(STEPS_IN_A_ROW, len(self._waiting))):
                self._waiting.popleft()()
            await asyncio.sleep(0)
        self.is_behind = False

    async def run(self) -> None:
        """Catches up whenever much is to be done."""
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            await self.catch_up()
