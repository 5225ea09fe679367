"""Hands the jobs of one queue to all who wait for them: one look at the index and one claim for everybody at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec
import structlog

from muster_api.phases import JobPhase
from muster_kube.backoff import Backoff
from muster_kube.clock import Clock
from muster_queue.index.errors import IndexFailure
from muster_queue.index.keys import QueueKey
from muster_queue.index.lua import MOST_JOBS
from muster_queue.index.queue_index import QueueIndex
from muster_queue.index.values import Entry
from muster_queue.pools.index_upkeep import IndexUpkeep
from muster_queue.pools.metrics import PoolMetrics
from muster_queue.pools.settings import PoolSettings
from muster_queue.pools.waiting import Waiter, WaitingLine, share_out
from muster_queue.storage.attempts import Attempts
from muster_queue.storage.errors import OutcomeUnknown, StorageAway, StorageError
from muster_queue.storage.records import Candidate, Change, Claimed, PoolScope

log = structlog.get_logger(__name__)

GIVEN_BACK: Final = "GivenBack"
HANDOVER_SECONDS: Final = 2.0
"""How long the index keeps what was taken from it for a claim that may never come."""
DOUBT_TRIES: Final = 8


class Offer(msgspec.Struct, frozen=True):
    """What may be handed out, and where it was found."""

    job_ids: list[UUID]
    entries: tuple[Entry, ...] = ()
    """As they were in the index; nothing where Postgres was asked instead."""


class Dispatcher:
    """Runs while somebody waits. The claim in Postgres alone says who has a job; all else only finds candidates."""

    def __init__(
        self,
        queue: QueueKey,
        attempts: Attempts,
        index: QueueIndex,
        upkeep: IndexUpkeep,
        settings: PoolSettings,
        clock: Clock,
        metrics: PoolMetrics,
    ) -> None:
        self.queue = queue
        self.line = WaitingLine()
        self._attempts = attempts
        self._index = index
        self._upkeep = upkeep
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._news = asyncio.Event()
        self._pause = Backoff(first=settings.first_look, longest=settings.longest_look, jitter=0.2)
        self._look_at = 0.0
        self._sweep_at = clock.monotonic() + settings.sweep
        self._idle_since = clock.monotonic()

    def join(self, waiter: Waiter) -> None:
        self.line.join(waiter)
        self._news.set()

    def awaken(self) -> None:
        """There may be something: looks at once, and often for a while."""
        self._pause.reset()
        self._news.set()

    async def run(self) -> None:
        """Returns once nobody has waited for a while."""
        while True:
            self._news.clear()
            waiters = self.line.present()
            if not waiters and self._clock.monotonic() - self._idle_since > self._settings.idle_seconds:
                return
            earliest = self._clock.monotonic() + self._settings.pace
            handed = await self._turn(waiters) if waiters else 0
            if handed:
                self._pause.reset()
                await asyncio.sleep(earliest - self._clock.monotonic())
            else:
                await self._rest(has_waiters=bool(waiters))

    async def _turn(self, waiters: list[Waiter]) -> int:
        """One round; whatever goes wrong in it, the next one follows."""
        self._idle_since = self._clock.monotonic()
        self.line.begin(waiters)
        try:
            return await self._hand_out(waiters)
        except StorageError as error:
            log.info("jobs cannot be claimed now", queue=str(self.queue), reason=str(error))
        except Exception:
            log.exception("a round of a pool has failed", queue=str(self.queue))
        finally:
            self.line.end(waiters)
        return 0

    async def _rest(self, *, has_waiters: bool) -> None:
        seconds = self._pause.next_delay() if has_waiters else self._settings.idle_seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    async def _hand_out(self, waiters: Sequence[Waiter]) -> int:
        handed = 0
        anything = [waiter for waiter in waiters if waiter.job_types is None]
        if anything:
            handed += await self._serve(anything, None)
        for types in sorted({waiter.job_types for waiter in waiters if waiter.job_types is not None}):
            handed += await self._serve([waiter for waiter in waiters if waiter.job_types == types], types)
        await self._sweep_now_and_then()
        return handed

    async def _serve(self, waiters: Sequence[Waiter], job_types: tuple[str, ...] | None) -> int:
        scope = PoolScope(namespace=self.queue.namespace, queue=self.queue.name, job_types=job_types)
        most = min(MOST_JOBS, sum(waiter.most for waiter in waiters))
        offer = await self._offer(scope, most)
        if not offer.job_ids:
            return 0
        shares = list(share_out([waiter for waiter in waiters if not waiter.is_gone], offer.job_ids))
        try:
            claimed = await self._claim(shares, scope)
        except BaseException:
            await self._put_back(offer.entries)
            raise
        unwanted = self._answer(shares, claimed)
        self._tell_index(offer, claimed)
        await self._give_back(unwanted)
        return len(claimed)

    async def _offer(self, scope: PoolScope, most: int) -> Offer:
        """From the index; from Postgres where it is away, has nothing, or cannot choose by type."""
        is_away = False
        if scope.job_types is None:
            try:
                taken = await self._index.take(self.queue, most, HANDOVER_SECONDS + self._settings.lease_seconds)
            except IndexFailure as error:
                is_away = True
                self._metrics.index_away.inc()
                log.debug("the index is away", queue=str(self.queue), reason=str(error))
            else:
                if taken.entries:
                    return Offer([UUID(entry.job) for entry in taken.entries], taken.entries)
        now = self._clock.monotonic()
        if now < self._look_at and not is_away and scope.job_types is None:
            return Offer([])
        found = await self._attempts.pool_candidates(scope, most)
        # Whatever the index has lost is taken from Postgres as long as there is some.
        self._look_at = now if found else now + self._settings.database_look
        return Offer([candidate.id for candidate in found])

    async def _claim(self, shares: Sequence[tuple[Waiter, UUID]], scope: PoolScope) -> list[Claimed]:
        claimed: list[Claimed] = []
        for actor in dict.fromkeys(waiter.actor for waiter, _ in shares):
            candidates = [Candidate(id=job_id, holder=who.holder) for who, job_id in shares if who.actor == actor]
            try:
                claimed += await self._claim_as(actor, candidates, scope)
            except StorageError as error:
                if not claimed:
                    raise
                # What the others have by now must come to them: nobody else gets it before its lease is over.
                log.info("jobs cannot be claimed now", queue=str(self.queue), reason=str(error))
                break
        return claimed

    async def _claim_as(self, actor: str, candidates: list[Candidate], scope: PoolScope) -> list[Claimed]:
        seconds = self._settings.lease_seconds
        try:
            return await self._attempts.claim(candidates, holder="", actor=actor, lease_seconds=seconds, scope=scope)
        except OutcomeUnknown as error:
            log.warning("a claim is in doubt", queue=str(self.queue), jobs=len(candidates), reason=str(error))
        pause = Backoff(first=0.05, longest=1.0)
        for _ in range(DOUBT_TRIES):
            await asyncio.sleep(pause.next_delay())
            try:
                return await self._attempts.claimed_by(candidates)
            except (StorageAway, OutcomeUnknown) as error:
                log.info("a claim is still in doubt", queue=str(self.queue), reason=str(error))
        # Whatever was claimed comes back when its lease is over.
        return []

    def _answer(self, shares: Sequence[tuple[Waiter, UUID]], claimed: Sequence[Claimed]) -> list[Claimed]:
        """Returns what was claimed for somebody who has gone meanwhile."""
        by_id = {each.id: each for each in claimed}
        found: dict[Waiter, list[Claimed]] = {}
        for waiter, job_id in shares:
            if job_id in by_id:
                found.setdefault(waiter, []).append(by_id[job_id])
        left: list[Claimed] = []
        for waiter, jobs in found.items():
            if waiter.is_gone:
                left += jobs
            else:
                waiter.answer.set_result(jobs)
        self._metrics.leased(claimed)
        return left

    def _tell_index(self, offer: Offer, claimed: Sequence[Claimed]) -> None:
        if not offer.entries:
            for each in claimed:
                self._upkeep.claimed(self.queue, each.id, each.attempt)
            return
        attempts = {str(each.id): each.attempt for each in claimed}
        for entry in offer.entries:
            if attempts.get(entry.job) != entry.attempt:
                self._upkeep.refused(self.queue, UUID(entry.job), entry.attempt)

    async def _put_back(self, entries: Sequence[Entry]) -> None:
        """Without it they would wait for the lease in the index to end."""
        with contextlib.suppress(IndexFailure):
            await self._index.give_back(self.queue, entries)

    async def _give_back(self, claimed: Sequence[Claimed]) -> None:
        """Nobody has begun them: they wait again, as if they had never been handed out, but for the number."""
        if not claimed:
            return
        changes = [
            Change(
                job_id=each.id,
                attempt=each.attempt,
                holder=each.holder,
                target=JobPhase.QUEUED,
                reason=GIVEN_BACK,
                message="the worker had gone before it got the job",
            )
            for each in claimed
        ]
        await self._attempts.fail(changes, "muster-pools")
        for each in claimed:
            self._upkeep.refused(self.queue, each.id, each.attempt)
        self._look_at = 0.0
        self.awaken()

    async def _sweep_now_and_then(self) -> None:
        if self._clock.monotonic() < self._sweep_at:
            return
        self._sweep_at = self._clock.monotonic() + self._settings.sweep
        with contextlib.suppress(IndexFailure):
            found = await self._upkeep.sweep(self.queue)
            if found:
                log.info("jobs were taken and never claimed", queue=str(self.queue), jobs=found)
