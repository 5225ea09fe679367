"""The loops of a warm worker: leasing, heartbeats, acknowledging; and an end in order when it is told to stop."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from muster_worker.pool.client import ApiAwayError, ApiRefusedError, PoolClient
from muster_worker.pool.wire import (
    LARGEST_REQUEST,
    LONGEST_MESSAGE,
    MOST_AT_ONCE,
    MOST_LEASES,
    End,
    Failure,
    Lease,
    Success,
)
from muster_worker.pool.work import Work
from muster_worker.progress_log import ProgressLog

WAIT_SECONDS = 25.0
_DICE = random.SystemRandom()
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 15.0
USUAL_LEASE_SECONDS = 30.0
FAREWELL_SECONDS = 5.0
"""For telling the last ends, after the grace period's own."""


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What a worker was started for."""

    concurrency: int
    job_types: Sequence[str]
    grace_seconds: float


class PoolWorker:
    """Runs until it is told to stop; nothing that it does is needed for the truth."""

    def __init__(self, client: PoolClient, plan: WorkerPlan, log: ProgressLog) -> None:
        self._client = client
        self._plan = plan
        self._log = log
        self._work = Work(plan.concurrency, log, self._note)
        self._ends: deque[End] = deque()
        self._told = asyncio.Event()
        self._all_told = asyncio.Event()
        self._all_told.set()
        self._stopping = asyncio.Event()
        self._at_once = asyncio.Event()
        self._lease_seconds = USUAL_LEASE_SECONDS
        self._shorter = asyncio.Event()

    async def run(self) -> int:
        """How many attempts were ended here."""
        self._watch_signals()
        leasing, beating, telling = (
            asyncio.create_task(work) for work in (self._lease(), self._beat(), self._acknowledge())
        )
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            done, _ = await asyncio.wait((leasing, beating, telling, stopping), return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                task.result()
            await _end(leasing)
            await self._drain()
            await self._farewell()
        finally:
            for task in (leasing, beating, telling, stopping):
                await _end(task)
            self._work.close()
        return self._work.done

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)

    def _stop(self, number: signal.Signals) -> None:
        if self._stopping.is_set():
            self._at_once.set()
        in_hand = len(self._work.in_hand())
        self._log.info("stopping", signal=number.name, in_hand=in_hand, grace_seconds=self._plan.grace_seconds)
        self._stopping.set()

    async def _lease(self) -> None:
        pause = Pause()
        while True:
            while (free := self._work.free) <= 0:
                self._work.changed.clear()
                await self._work.changed.wait()
            leases: list[Lease] = []
            try:
                leases = await self._client.lease(min(free, MOST_LEASES), WAIT_SECONDS, self._plan.job_types)
                pause.reset()
            except ApiAwayError as error:
                await pause.after(error, self._log, "lease")
            for lease in leases:
                self._keep_pace(lease.lease_seconds)
                self._log.info("leased", job=lease.job_id, attempt=lease.attempt, job_type=lease.job_type)
            self._work.begin(leases)

    async def _beat(self) -> None:
        pause = Pause(longest=2.0)
        while True:
            await self._until_next_beat()
            attempts = [(attempt.lease, attempt.report.share) for attempt in self._work.in_hand()]
            for start in range(0, len(attempts), MOST_AT_ONCE):
                try:
                    kept = await self._client.heartbeat(attempts[start : start + MOST_AT_ONCE])
                except ApiAwayError as error:
                    await pause.after(error, self._log, "heartbeat")
                    break
                pause.reset()
                self._keep_pace(kept.lease_seconds)
                for lost in kept.lost:
                    self._work.lose((lost.job_id, lost.attempt))

    async def _until_next_beat(self) -> None:
        """A third of a lease; begun anew where leases turn out to be shorter than they were."""
        is_over = False
        while not is_over:
            self._shorter.clear()
            try:
                async with asyncio.timeout(self._lease_seconds / 3):
                    await self._shorter.wait()
            except TimeoutError:
                is_over = True

    def _keep_pace(self, lease_seconds: float) -> None:
        if lease_seconds < self._lease_seconds:
            self._shorter.set()
        self._lease_seconds = lease_seconds

    def _note(self, end: End) -> None:
        self._ends.append(end)
        self._all_told.clear()
        self._told.set()

    async def _acknowledge(self) -> None:
        """Whatever has ended while the last request was under way goes into the next; none is dropped."""
        pause = Pause(longest=5.0)
        while True:
            while not self._ends:
                self._told.clear()
                await self._told.wait()
            batch = _next_batch(self._ends)
            try:
                await self._tell(batch)
            except ApiAwayError as error:
                await pause.after(error, self._log, "acknowledge")
                continue
            pause.reset()
            for _ in batch:
                self._ends.popleft()
            if not self._ends:
                self._all_told.set()

    async def _tell(self, batch: Sequence[End]) -> None:
        for verdict in await self._client.acknowledge(batch):
            if verdict.verdict == "accepted":
                continue
            told = {"job": verdict.job_id, "attempt": verdict.attempt, "detail": verdict.detail}
            self._log.warning(verdict.verdict, **told)
            if verdict.verdict == "refused":
                end = Failure(
                    job_id=verdict.job_id, attempt=verdict.attempt, failure="validation", message=verdict.detail
                )
                self._note(end)

    async def _drain(self) -> None:
        """What is in hand may end within the grace period; what does not is given back."""
        finishing = asyncio.create_task(self._work.idle())
        hurrying = asyncio.create_task(self._at_once.wait())
        await asyncio.wait((finishing, hurrying), timeout=self._plan.grace_seconds, return_when=asyncio.FIRST_COMPLETED)
        await _end(finishing)
        await _end(hurrying)
        self._work.give_back()

    async def _farewell(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._all_told.wait()
        if self._ends:
            self._log.warning("untold", attempts=len(self._ends), message="their leases will end by themselves")


class Pause:
    """Doubles while the api is away, spread so that workers do not come back in step."""

    def __init__(self, longest: float = LONGEST_PAUSE) -> None:
        self._longest = longest
        self._failures = 0

    def reset(self) -> None:
        self._failures = 0

    async def after(self, error: ApiAwayError, log: ProgressLog, doing: str) -> None:
        write = log.error if isinstance(error, ApiRefusedError) else log.warning
        write("api_away", doing=doing, message=str(error))
        seconds = min(self._longest, FIRST_PAUSE * 2.0 ** min(self._failures, 10))
        self._failures += 1
        await asyncio.sleep(max(error.retry_after, seconds * _DICE.uniform(0.75, 1.25)))


def _next_batch(ends: Sequence[End]) -> list[End]:
    """As many as the api reads at once, and at least one."""
    batch: list[End] = []
    size = 0
    for end in islice(ends, MOST_AT_ONCE):
        size += len(bytes(end.result)) if isinstance(end, Success) else LONGEST_MESSAGE
        if batch and size > LARGEST_REQUEST:
            break
        batch.append(end)
    return batch


async def _end(task: asyncio.Task[object]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
