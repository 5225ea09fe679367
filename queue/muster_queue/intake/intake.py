"""Takes requests in, stores them in natural batches, and answers each only after its commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Protocol
from uuid import UUID

import structlog
from msgspec.structs import replace

from muster_kube.backoff import Backoff
from muster_kube.clock import Clock, SystemClock
from muster_queue.intake.lane import Called, Lane, Listener, Pending, Waiting
from muster_queue.intake.naming import apart, refuse_twins
from muster_queue.intake.receipts import Again, Receipt, Result, needs_look, needs_owner, settle, whole_receipt
from muster_queue.intake.settings import IntakeSettings
from muster_queue.storage.errors import (
    Contended,
    KeyReused,
    OutcomeUnknown,
    StorageAway,
    StorageError,
    Unstorable,
)
from muster_queue.storage.identifiers import JobIds, generated_name
from muster_queue.storage.records import Job, KeyOwner, NewJob, Request, RequestKey, StoredBatch

log = structlog.get_logger(__name__)

MOST_TRIES = 4


class RequestStore(Protocol):
    """Where requests are committed: muster_queue.storage.submissions.Submissions."""

    async def store(self, requests: Sequence[Request], *, is_careful: bool = False) -> StoredBatch:
        """Commits what can be; the same batch may come again."""

    async def owners(self, keys: Sequence[RequestKey]) -> dict[tuple[str, str], KeyOwner]:
        """Which requests the keys belong to."""


class JobFinder(Protocol):
    """Where jobs are looked up: muster_queue.storage.jobs.Jobs."""

    async def find(self, job_ids: Sequence[UUID]) -> dict[UUID, Job]:
        """Those that exist."""


StoredListener = Callable[[Sequence[NewJob], StoredBatch], None]
"""Told of each commit before its senders are answered; it must not block: it hands the jobs on to the index."""


class Intake:
    """One for each process. `run` must be running for anybody to get an answer."""

    def __init__(
        self,
        store: RequestStore,
        finder: JobFinder,
        settings: IntakeSettings,
        *,
        on_stored: StoredListener = lambda jobs, batch: None,
        ids: JobIds | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._finder = finder
        self._settings = settings
        self._on_stored = on_stored
        self._ids = ids or JobIds()
        self._clock = clock or SystemClock()
        self._singles = Lane(most_jobs=settings.waiting_jobs, batch_jobs=settings.batch_jobs)
        self._bulk = Lane(most_jobs=settings.waiting_bulk_jobs, batch_jobs=settings.bulk_batch_jobs)
        self._by_key: dict[tuple[str, str], Waiting] = {}
        self._is_closed = False

    @property
    def waiting_jobs(self) -> int:
        """Jobs that are not stored yet."""
        return self._singles.jobs + self._bulk.jobs

    async def submit(self, request: Request) -> Receipt:
        """Returns once the request is committed; raises Overloaded, or what storage says of it.

        A request whose key is on its way already waits for that one: it is answered as its repetition, or refused.
        """
        if not request.jobs:
            raise ValueError("a request has at least one job")
        refuse_twins(request)
        while request.key is not None and (first := self._by_key.get(_place(request.key))) is not None:
            receipt = await self._after(first, request)
            if receipt is not None:
                return receipt
        if self._is_closed:
            raise StorageAway("this process is stopping")
        waiting = Waiting(request)
        self._lane_of(waiting.jobs).put(waiting)
        if request.key is not None:
            self._by_key[_place(request.key)] = waiting
        return await waiting.outcome()

    def begin(self, request: Request, listener: Listener) -> None:
        """The same for a request without a key, whose sender is called with the answer; raises Overloaded."""
        if request.key is not None or not request.jobs:
            raise ValueError("a request with a key has to be awaited")
        if self._is_closed:
            raise StorageAway("this process is stopping")
        self._lane_of(len(request.jobs)).put(Called(request, listener))

    def _lane_of(self, jobs: int) -> Lane:
        return self._bulk if jobs >= self._settings.bulk_from else self._singles

    async def run(self) -> None:
        """Stores what comes until it is cancelled; what waits then is refused."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._settings.flushers):
                    group.create_task(self._flush(self._singles))
                for _ in range(self._settings.bulk_flushers):
                    group.create_task(self._flush(self._bulk))
        finally:
            self._is_closed = True
            for lane in (self._singles, self._bulk):
                _refuse(lane.drain(), StorageAway("this process is stopping"))

    async def _after(self, first: Waiting, request: Request) -> Receipt | None:
        """The answer to a request with the key of one under way; None where it has to be tried by itself."""
        assert request.key is not None and first.request.key is not None
        is_same = first.request.key.fingerprint == request.key.fingerprint
        try:
            receipt = await asyncio.shield(first.answer)
        except (StorageError, asyncio.CancelledError):
            if is_same or asyncio.current_task() is None or not first.answer.done():
                raise
            return None
        if not is_same:
            raise KeyReused(request.key.key)
        return Receipt(jobs=(), job_ids=receipt.job_ids, is_replay=True)

    async def _flush(self, lane: Lane) -> None:
        while True:
            batch = await lane.take()
            begun = self._clock.monotonic()
            try:
                await self._serve(batch)
            finally:
                self._release(batch)
                lane.done(batch, self._clock.monotonic() - begun)

    def _release(self, batch: Sequence[Pending]) -> None:
        for waiting in batch:
            if waiting.request.key is not None:
                self._by_key.pop(_place(waiting.request.key), None)
            if not waiting.is_answered:
                waiting.tell(OutcomeUnknown("this process stopped while the request was under way"))

    async def _serve(self, batch: Sequence[Pending]) -> None:
        """Answers every request of the batch; one that the database does not take never stops the others."""
        left = list(batch)
        for turn in range(MOST_TRIES):
            try:
                left = await self._store_once(left, is_careful=turn > 0)
            except Contended as error:
                first, rivals = apart(left)
                if rivals:
                    await self._serve(first)
                    await self._serve(rivals)
                    return
                if turn + 1 == MOST_TRIES:
                    _refuse(left, error)
            except Unstorable as error:
                await self._split(left, error)
                return
            except (StorageError, ValueError) as error:
                _refuse(left, error)
                return
            except Exception as error:
                log.exception("batch cannot be stored", requests=len(left))
                _refuse(left, StorageAway(f"internal error: {type(error).__name__}"))
                return
            if not left:
                return
        _refuse(left, StorageAway("no free name was found"))

    async def _split(self, batch: Sequence[Pending], error: Unstorable) -> None:
        if len(batch) == 1:
            batch[0].tell(error)
            return
        middle = len(batch) // 2
        await self._serve(batch[:middle])
        await self._serve(batch[middle:])

    async def _store_once(self, batch: Sequence[Pending], *, is_careful: bool) -> list[Pending]:
        """One commit; returns what has to be stored again."""
        requests = [waiting.request for waiting in batch]
        stored = await self._store_surely(requests, is_careful=is_careful)
        if not stored.missing:
            # Nearly always: nothing to look up, and nobody to ask for each job.
            self._on_stored([job for request in requests for job in request.jobs], stored)
            for waiting in batch:
                waiting.tell(whole_receipt(waiting.request, stored))
            return []
        owners: dict[tuple[str, str], KeyOwner] = {}
        present: dict[UUID, Job] = {}
        keys = [request.key for request in requests if request.key and needs_owner(request, stored)]
        looked_for = needs_look(requests, stored)
        if keys:
            owners = await self._store.owners(keys)
        if looked_for:
            present = await self._finder.find(looked_for)
        fresh = [
            job for request in requests for job in request.jobs if job.id not in stored.missing or job.id in present
        ]
        self._on_stored(fresh, stored)
        again = []
        for waiting in batch:
            if not self._answer(waiting, settle(waiting.request, stored, owners, present)):
                again.append(waiting)
        return again

    def _answer(self, waiting: Pending, result: Result) -> bool:
        match result:
            case Again(jobs=unstored):
                waiting.request = self._with_new_ids(waiting.request, unstored)
                return False
            case _:
                waiting.tell(result)
        return True

    async def _store_surely(self, requests: Sequence[Request], *, is_careful: bool) -> StoredBatch:
        """Sends the same batch again while its outcome is unknown: ids make twice the same as once.

        The second statement waits for the first where that is still at work in the server, so its answer is final.
        """
        pause = Backoff(first=0.05, longest=1.0)
        give_up = self._clock.monotonic() + self._settings.doubt_seconds
        is_in_doubt = False
        while True:
            try:
                return await self._store.store(requests, is_careful=is_careful)
            except (OutcomeUnknown, StorageAway) as error:
                is_in_doubt = is_in_doubt or isinstance(error, OutcomeUnknown)
                if not is_in_doubt:
                    raise
                if self._clock.monotonic() > give_up:
                    raise OutcomeUnknown(f"the request may have been stored: {error}") from error
                log.warning("commit in doubt, asking again", requests=len(requests), error=str(error))
            await asyncio.sleep(pause.next_delay())

    def _with_new_ids(self, request: Request, unstored: Collection[UUID]) -> Request:
        jobs = (self._renamed(job) if job.id in unstored else job for job in request.jobs)
        return replace(request, jobs=tuple(jobs))

    def _renamed(self, job: NewJob) -> NewJob:
        if job.is_named:
            return job
        job_id = self._ids.make()
        return replace(job, id=job_id, name=generated_name(job_id))


def _place(key: RequestKey) -> tuple[str, str]:
    return key.tenant, key.key


def _refuse(batch: Sequence[Pending], error: Exception) -> None:
    for waiting in batch:
        waiting.tell(error)
