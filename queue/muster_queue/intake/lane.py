"""What waits to be stored, in order and bounded; and how long it will take."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Final

from muster_queue.intake.errors import Overloaded
from muster_queue.intake.receipts import Receipt
from muster_queue.storage.records import Request

SLOWEST_RATE: Final = 100.0
LONGEST_RETRY_AFTER: Final = 30
MEMORY: Final = 0.2
"""Weight of the last commit in the running rate."""


Listener = Callable[[Receipt | Exception], None]


class Waiting:
    """A request and the answer that its sender awaits."""

    __slots__ = ("answer", "jobs", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.jobs = len(request.jobs)
        self.answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        if request.key is not None:
            # Others may wait for it too, so that it goes on when its sender has hung up; then it must not be reported
            # as an error that nobody saw.
            self.answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())

    @property
    def is_answered(self) -> bool:
        return self.answer.done()

    async def outcome(self) -> Receipt:
        """The answer; whoever hangs up takes it along only where nobody else can wait for it."""
        return await (self.answer if self.request.key is None else asyncio.shield(self.answer))

    def tell(self, outcome: Receipt | Exception) -> None:
        """Answers, if anybody still waits."""
        if self.answer.done():
            return
        if isinstance(outcome, Exception):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


class Called:
    """The same for a sender who is called with the answer: without a future and a task, which cost a third of a job."""

    __slots__ = ("_listener", "jobs", "request")

    def __init__(self, request: Request, listener: Listener) -> None:
        self.request = request
        self.jobs = len(request.jobs)
        self._listener: Listener | None = listener

    @property
    def is_answered(self) -> bool:
        return self._listener is None

    def tell(self, outcome: Receipt | Exception) -> None:
        """Calls once, and not from here: the next commit is to be on its way before its senders are answered."""
        if self._listener is not None:
            asyncio.get_running_loop().call_soon(self._listener, outcome)
            self._listener = None


Pending = Waiting | Called


class Lane:
    """A bounded queue that is emptied in natural batches: whatever has come while the last commit was under way."""

    def __init__(self, *, most_jobs: int, batch_jobs: int) -> None:
        self._most_jobs = most_jobs
        self._batch_jobs = batch_jobs
        self._waiting: deque[Pending] = deque()
        self._came = asyncio.Event()
        self._rate = SLOWEST_RATE
        self.jobs = 0

    def put(self, waiting: Pending) -> None:
        """Raises Overloaded where there is no room; an empty lane takes a request of any size."""
        if self.jobs and self.jobs + waiting.jobs > self._most_jobs:
            raise Overloaded(self.retry_after())
        self._waiting.append(waiting)
        self.jobs += waiting.jobs
        self._came.set()

    async def take(self) -> list[Pending]:
        """All that waits, as far as one commit should go; waits until there is something."""
        while not self._waiting:
            self._came.clear()
            await self._came.wait()
        batch = [self._waiting.popleft()]
        jobs = batch[0].jobs
        while self._waiting and jobs + self._waiting[0].jobs <= self._batch_jobs:
            batch.append(self._waiting.popleft())
            jobs += batch[-1].jobs
        return batch

    def done(self, batch: list[Pending], seconds: float) -> None:
        """These have their answers; their room is free."""
        jobs = sum(waiting.jobs for waiting in batch)
        self.jobs -= jobs
        if seconds > 0:
            self._rate += MEMORY * (jobs / seconds - self._rate)

    def drain(self) -> list[Pending]:
        """What waits still, taken out."""
        left = list(self._waiting)
        self._waiting.clear()
        self.jobs -= sum(waiting.jobs for waiting in left)
        return left

    def retry_after(self) -> int:
        """Whole seconds until what waits now should be stored."""
        seconds = math.ceil(self.jobs / max(self._rate, SLOWEST_RATE))
        return max(1, min(seconds, LONGEST_RETRY_AFTER))
