"""Ends attempts: what workers acknowledge becomes changes, and what becomes of those an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID

import msgspec
import structlog

from muster_api.jobs import FailureClass
from muster_api.phases import JobPhase
from muster_kube.backoff import Backoff
from muster_queue.index.keys import QueueKey
from muster_queue.jobs.failures import AttemptEnd
from muster_queue.pools.ending import FailedAttempt, after_failure
from muster_queue.pools.index_upkeep import IndexUpkeep
from muster_queue.rest.pool_service import Verdict
from muster_queue.storage.attempts import Attempts
from muster_queue.storage.errors import OutcomeUnknown
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.moving import Outcome
from muster_queue.storage.records import NOTHING, Change, Settled

log = structlog.get_logger(__name__)

DOUBT_TRIES: Final = 5


class Ending(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One acknowledgement; without `end` the attempt went well."""

    queue: QueueKey
    job_id: UUID
    attempt: int
    actor: str
    holder: str
    end: AttemptEnd | None = None
    result: msgspec.Raw = NOTHING


class Settler:
    """Fenced by attempt and holder, so that each may come twice and a stale one changes nothing."""

    def __init__(self, attempts: Attempts, jobs: Jobs, upkeep: IndexUpkeep) -> None:
        self._attempts = attempts
        self._jobs = jobs
        self._upkeep = upkeep

    async def settle(self, endings: list[Ending]) -> list[Verdict]:
        """One verdict for each, in their order; of one job there is one ending."""
        moved: set[UUID] = set()
        changes = await self._changes([ending for ending in endings if ending.end is not None])
        for actor in dict.fromkeys(ending.actor for ending in endings):
            mine = [ending for ending in endings if ending.actor == actor]
            successes = [_success(ending) for ending in mine if ending.end is None]
            failures = [changes[ending.job_id] for ending in mine if ending.job_id in changes]
            moved |= await self._move(self._attempts.acknowledge, successes, actor)
            moved |= await self._move(self._attempts.fail, failures, actor)
        left = [ending for ending in endings if ending.job_id not in moved]
        before = await self._attempts.settled([ending.job_id for ending in left]) if left else {}
        return [self._verdict(ending, ending.job_id in moved, before) for ending in endings]

    def _verdict(self, ending: Ending, is_moved: bool, before: dict[tuple[UUID, int], Settled]) -> Verdict:
        known = before.get((ending.job_id, ending.attempt))
        if is_moved:
            self._upkeep.ended(ending.queue, ending.job_id, ending.attempt)
            return Verdict.ACCEPTED
        return Verdict.ACCEPTED if known is not None and _is_same(ending, known) else Verdict.STALE

    async def _changes(self, failed: Sequence[Ending]) -> dict[UUID, Change]:
        """What becomes of jobs that failed, by their own policy; nothing of those that have gone on."""
        if not failed:
            return {}
        jobs = await self._jobs.find([ending.job_id for ending in failed])
        changes: dict[UUID, Change] = {}
        for ending in failed:
            job = jobs.get(ending.job_id)
            if job is None or job.attempt != ending.attempt or ending.end is None:
                continue
            attempt = FailedAttempt(
                job_id=job.id, attempt=job.attempt, retries=job.retries, spec=job.spec, holder=ending.holder
            )
            changes[job.id] = after_failure(attempt, ending.end)
        return changes

    async def _move(
        self, move: Callable[[Sequence[Change], str], Awaitable[Outcome]], changes: Sequence[Change], actor: str
    ) -> set[UUID]:
        """Sent again while its outcome is unknown: what the first try has done is found among the settled."""
        if not changes:
            return set()
        pause = Backoff(first=0.05, longest=1.0)
        for number in range(DOUBT_TRIES):
            try:
                return set((await move(changes, actor)).moved)
            except OutcomeUnknown as error:
                if number + 1 == DOUBT_TRIES:
                    raise
                log.warning("acknowledgements are in doubt", jobs=len(changes), reason=str(error))
            await asyncio.sleep(pause.next_delay())
        raise AssertionError("unreachable")


def _success(ending: Ending) -> Change:
    return Change(
        job_id=ending.job_id,
        attempt=ending.attempt,
        holder=ending.holder,
        target=JobPhase.SUCCEEDED,
        reason="Finished",
        message="",
        result=ending.result,
    )


def _is_same(ending: Ending, known: Settled) -> bool:
    """Whether this very acknowledgement was accepted before, and only the answer was lost."""
    if known.holder != ending.holder:
        return False
    if ending.end is None:
        return known.outcome is JobPhase.SUCCEEDED
    return known.failure is not None and FailureClass(known.failure) is ending.end.failure
