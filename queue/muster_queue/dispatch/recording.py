"""Takes the steps of many jobs at once: those in Postgres in one statement a kind, those at the API server beside."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

import structlog

from muster_api.phases import JobPhase
from muster_kube.errors import ApiError
from muster_kube.failpoints import hit
from muster_queue.dispatch.feed import Feed, Key
from muster_queue.dispatch.mirroring import (
    HOLDER,
    Adopt,
    Carried,
    Carry,
    Claim,
    Delete,
    Seen,
    Shift,
    Step,
    Tell,
)
from muster_queue.dispatch.objects import JobObjects
from muster_queue.storage.attempts import Attempts
from muster_queue.storage.errors import Stale
from muster_queue.storage.moving import Mover
from muster_queue.storage.records import Actor, Candidate, Change, Made, Reflection, Told
from muster_queue.storage.reflections import Reflections

log = structlog.get_logger(__name__)

ACTOR: Final = Actor(name=HOLDER, action="mirror")
AT_ONCE: Final = 16

S = TypeVar("S", bound=Step)


@dataclass(frozen=True, slots=True)
class Pair:
    """A row, its AIJob, and what is to be done next."""

    key: Key
    row: Reflection
    seen: Seen
    step: Step


class Recorder:
    """Each step is fenced by what it was decided on: one that no longer holds changes nothing."""

    def __init__(
        self, feed: Feed, reflections: Reflections, mover: Mover, attempts: Attempts, objects: JobObjects
    ) -> None:
        self._feed = feed
        self._reflections = reflections
        self._mover = mover
        self._attempts = attempts
        self._objects = objects

    async def take(self, pairs: Sequence[Pair]) -> set[Key]:
        """Takes all of them; answers with those whose step was refused for good, and has to rest."""
        refused = await self._shift(of_kind(pairs, Shift))
        await self._claim(of_kind(pairs, Claim))
        await self._mark(pairs)
        return refused | await self._change_objects(pairs)

    async def _mark(self, pairs: Sequence[Pair]) -> None:
        adopted = [Made(id=pair.row.id, uid=step.uid, is_ours=step.is_ours) for pair, step in of_kind(pairs, Adopt)]
        told = [
            Told(id=pair.row.id, version=pair.row.version, reason=step.reason, message=step.message)
            for pair, step in of_kind(pairs, Tell)
        ]
        await self._reflections.mark_made(adopted)
        await self._reflections.mark_told(told)
        await self._reflections.mark_carried([pair.row for pair, _ in of_kind(pairs, Carried)])

    async def _claim(self, claims: Iterable[tuple[Pair, Claim]]) -> None:
        """The number of the attempt says which state it was decided on; who was quicker has it."""
        by_target: dict[JobPhase, list[Candidate]] = {}
        for pair, step in claims:
            number = pair.row.attempt + 1
            candidate = Candidate(id=pair.row.id, attempt=number, gpus=step.gpus, holder=step.holder)
            by_target.setdefault(step.target, []).append(candidate)
        for target, candidates in by_target.items():
            await self._attempts.claim(candidates, holder=HOLDER, actor=HOLDER, lease_seconds=None, target=target)
            await hit("dispatch-claimed")

    async def _shift(self, shifts: Sequence[tuple[Pair, Shift]]) -> set[Key]:
        if not shifts:
            return set()
        outcome = await self._mover.move([change_of(pair.row, step) for pair, step in shifts], ACTOR)
        await hit("dispatch-moved")
        keys: dict[UUID, Key] = {pair.row.id: pair.key for pair, _ in shifts}
        refused = set()
        for job_id, error in outcome.refused.items():
            if not isinstance(error, Stale):
                log.warning("move refused", job=str(job_id), error=str(error))
                refused.add(keys[job_id])
        return refused

    async def _change_objects(self, pairs: Sequence[Pair]) -> set[Key]:
        wanted = [pair for pair in pairs if isinstance(pair.step, Carry | Delete)]
        slots = asyncio.Semaphore(AT_ONCE)

        async def change(pair: Pair) -> bool:
            async with slots:
                return await self._change_object(pair)

        done = await asyncio.gather(*map(change, wanted))
        return {pair.key for pair, is_done in zip(wanted, done, strict=True) if not is_done}

    async def _change_object(self, pair: Pair) -> bool:
        """Whether it was done; what the API server refuses now is asked for again later."""
        job = pair.seen.job
        assert job is not None
        try:
            if isinstance(pair.step, Carry):
                answer = await self._objects.carry(job, pair.step)
                if answer is not None:
                    self._feed.see_answer(answer)
                return answer is not None
            await self._objects.delete(job)
        except ApiError as error:
            log.warning("AIJob cannot be changed now", namespace=pair.key[0], job=pair.key[1], error=str(error))
        # A deletion is over when the watch says so, not before.
        return False


def of_kind(pairs: Iterable[Pair], kind: type[S]) -> list[tuple[Pair, S]]:
    """Those whose step is of this kind."""
    return [(pair, pair.step) for pair in pairs if isinstance(pair.step, kind)]


def change_of(row: Reflection, shift: Shift) -> Change:
    """Holds only while the row is as it was read."""
    return Change(
        job_id=row.id,
        version=row.version,
        target=shift.target,
        reason=shift.reason,
        message=shift.message,
        retries=shift.retries,
        priority=shift.priority,
        failure=shift.failure,
        exit_code=shift.exit_code,
        is_gone=shift.is_gone,
        is_mirror=True,
    )
