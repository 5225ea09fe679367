"""Who waits for jobs of one queue, and who gets which: the longest waiting first, each as much as it asked for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from muster_queue.storage.records import Claimed

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Waiter:
    """A worker that could begin so many jobs, and the answer that it awaits."""

    holder: str
    actor: str
    most: int
    job_types: tuple[str, ...] | None
    answer: asyncio.Future[list[Claimed]]
    is_late: bool = False
    """Its time is over; it is answered as soon as nothing can be on its way to it."""
    had_turn: bool = False
    """Whether anybody has looked for jobs for it: also for those who would not wait there is one look."""

    @property
    def is_gone(self) -> bool:
        return self.answer.done()


class WaitingLine:
    """Waiters in the order in which they came. Whoever got something, or went, has left it."""

    def __init__(self) -> None:
        self._line: deque[Waiter] = deque()
        self._in_turn: set[Waiter] = set()

    def __len__(self) -> int:
        return len(self._line)

    def join(self, waiter: Waiter) -> None:
        self._line.append(waiter)

    def present(self) -> list[Waiter]:
        """Those who still wait; the others are forgotten."""
        self._line = deque(waiter for waiter in self._line if not waiter.is_gone)
        return list(self._line)

    def begin(self, waiters: Sequence[Waiter]) -> None:
        """Jobs are being claimed for them: until `end` none is told that there was nothing."""
        self._in_turn.update(waiters)

    def end(self, waiters: Sequence[Waiter]) -> None:
        self._in_turn.difference_update(waiters)
        for waiter in waiters:
            waiter.had_turn = True
            if waiter.is_late:
                self.time_over(waiter)

    def time_over(self, waiter: Waiter) -> None:
        """It goes away with nothing, unless its turn has come just now."""
        waiter.is_late = True
        if waiter.had_turn and waiter not in self._in_turn and not waiter.is_gone:
            waiter.answer.set_result([])

    def send_away(self) -> None:
        """All of them: nobody looks for jobs here any more."""
        for waiter in self.present():
            waiter.answer.set_result([])


def share_out(waiters: Sequence[Waiter], items: Sequence[T]) -> Iterator[tuple[Waiter, T]]:
    """Fills one waiter after the other: each asked for no more than it can begin, and fewer answers cost less."""
    rest = iter(items)
    for waiter in waiters:
        for _ in range(waiter.most):
            item = next(rest, None)
            if item is None:
                return
            yield waiter, item
