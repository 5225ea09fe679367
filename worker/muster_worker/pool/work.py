"""The attempts that a worker has in hand: each in a thread, until it ends, is lost, overdue or given back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from muster_worker.errors import RefusedError
from muster_worker.pool.handlers import HANDLERS, GivenUpError, Report
from muster_worker.pool.wire import End, Lease, failure, success
from muster_worker.progress_log import ProgressLog

GIVEN_BACK = "the worker was told to stop before it was done"


@dataclass(eq=False)
class Attempt:
    """A lease in hand."""

    lease: Lease
    report: Report = field(default_factory=Report)
    begun: float = field(default_factory=time.monotonic)
    is_settled: bool = False
    """Its end was told, or nobody wants to know it."""


class Work:
    """At most so many attempts at once. `ended` is called in the loop, once for each attempt that is not lost."""

    def __init__(self, concurrency: int, log: ProgressLog, ended: Callable[[End], None]) -> None:
        self._concurrency = concurrency
        self._log = log
        self._ended = ended
        self._threads = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="job")
        self._attempts: dict[tuple[str, int], Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.changed = asyncio.Event()
        self.done = 0

    @property
    def free(self) -> int:
        """How many attempts could begin now; a thread that does not come back keeps its place."""
        return self._concurrency - len(self._tasks)

    def in_hand(self) -> list[Attempt]:
        """The attempts that need heartbeats."""
        return [attempt for attempt in self._attempts.values() if not attempt.is_settled]

    def begin(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            attempt = self._attempts[lease.key] = Attempt(lease)
            task = asyncio.create_task(self._run(attempt), name=f"job {lease.job_id}")
            self._tasks.add(task)
            task.add_done_callback(self._forget)

    def lose(self, key: tuple[str, int]) -> None:
        """Somebody else has it, or nobody wants it: it stops at its next step, and nothing is told."""
        attempt = self._attempts.get(key)
        if attempt is not None and not attempt.is_settled:
            attempt.is_settled = True
            attempt.report.give_up()
            self._log.warning("lost", job=attempt.lease.job_id, attempt=attempt.lease.attempt)

    def give_back(self) -> None:
        """All that is in hand, at once, whether its thread has noticed or not."""
        for attempt in self.in_hand():
            self._settle(attempt, failure(attempt.lease, "preempted", GIVEN_BACK))

    async def idle(self) -> None:
        """Until nothing is in hand."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def close(self) -> None:
        """Does not wait for a thread that does not come back."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, attempt: Attempt) -> None:
        lease, loop = attempt.lease, asyncio.get_running_loop()
        running = loop.run_in_executor(self._threads, self._handle, attempt)
        limit = lease.timeout_seconds
        overdue = None if limit is None else loop.call_later(limit, self._time_over, attempt)
        try:
            end = await running
        except GivenUpError:
            return
        finally:
            if overdue is not None:
                overdue.cancel()
            self._attempts.pop(lease.key, None)
        self._settle(attempt, end)

    def _handle(self, attempt: Attempt) -> End:
        """In a thread; whatever a job does, the worker lives on."""
        lease = attempt.lease
        try:
            return success(lease, HANDLERS[lease.job_type](lease.config, attempt.report))
        except GivenUpError:
            raise
        except RefusedError as error:
            return failure(lease, "validation", str(error), 2)
        except MemoryError as error:
            return failure(lease, "outOfMemory", f"MemoryError: {error}", 1)
        except Exception as error:
            return failure(lease, "exitCode", f"{type(error).__name__}: {error}", 1)

    def _time_over(self, attempt: Attempt) -> None:
        text = f"it ran for longer than its {attempt.lease.timeout_seconds:g} s"
        self._settle(attempt, failure(attempt.lease, "timeout", text))

    def _settle(self, attempt: Attempt, end: End) -> None:
        if attempt.is_settled:
            return
        attempt.is_settled = True
        attempt.report.give_up()
        self.done += 1
        lease, seconds = attempt.lease, round(time.monotonic() - attempt.begun, 3)
        outcome = getattr(end, "failure", "succeeded")
        self._log.info("ended", job=lease.job_id, attempt=lease.attempt, outcome=outcome, seconds=seconds)
        self._ended(end)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self.changed.set()
        if not task.cancelled() and task.exception() is not None:
            self._log.error("broken", message=repr(task.exception()))
