"""Attempts of jobs: claimed by one holder, kept alive by heartbeats, ended once; the number fences all that is done."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from msgspec.structs import replace

from muster_api.phases import JobPhase
from muster_queue.storage.database import Database
from muster_queue.storage.jobs import LEAST_ID, as_attempt
from muster_queue.storage.moving import Mover, Outcome
from muster_queue.storage.records import (
    Actor,
    Attempt,
    Beat,
    Candidate,
    Change,
    Claimed,
    ExpiredAttempt,
    PoolCandidate,
    PoolScope,
    Settled,
    encode_rows,
)
from muster_queue.storage.statements import statement


class Attempts:
    """Adapter of whoever hands jobs out: pools and the leader."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mover = Mover(database)

    async def claim(
        self,
        candidates: Sequence[Candidate],
        *,
        holder: str,
        actor: str,
        lease_seconds: float | None,
        target: JobPhase = JobPhase.RUNNING,
        scope: PoolScope | None = None,
    ) -> list[Claimed]:
        """Those of the candidates that nobody else had: now `holder` has them, and nobody else will.

        With a scope only jobs of this pool are taken, and their own time to run out begins.

        After `OutcomeUnknown` ask `held_by` what was claimed; what nobody asks for comes back when its lease is over.
        """
        parameters = {
            "candidates": encode_rows(sorted(candidates, key=lambda candidate: candidate.id)),
            "holder": holder,
            "actor": actor,
            "lease_seconds": lease_seconds,
            "target": target,
            "namespace": scope.namespace if scope else None,
            "queue": scope.queue if scope else None,
            "job_types": list(scope.job_types) if scope and scope.job_types else None,
        }
        rows = await self._database.write(statement("claim"), parameters)
        return [Claimed(**dict(zip(Claimed.__struct_fields__, row, strict=False))) for row in rows]

    async def claimed_by(self, candidates: Sequence[Candidate]) -> list[Claimed]:
        """Which of the candidates their holders have, after a claim of unknown outcome."""
        holders = [{"id": candidate.id, "holder": candidate.holder} for candidate in candidates]
        rows = await self._database.read(statement("claimed_by"), {"candidates": encode_rows(holders)})
        return [Claimed(**dict(zip(Claimed.__struct_fields__, row, strict=True))) for row in rows]

    async def pool_candidates(self, scope: PoolScope, most: int = 500) -> list[PoolCandidate]:
        """What waits in a pool, the best first."""
        parameters = {
            "namespace": scope.namespace,
            "queue": scope.queue,
            "job_types": list(scope.job_types) if scope.job_types else None,
            "most": most,
        }
        rows = await self._database.read(statement("pool_candidates"), parameters)
        return [
            PoolCandidate(id=job_id, priority=priority, attempt=attempt, queued_at=queued_at)
            for job_id, priority, attempt, queued_at in rows
        ]

    async def settled(self, job_ids: Sequence[UUID]) -> dict[tuple[UUID, int], Settled]:
        """The attempts of these jobs that have ended."""
        rows = await self._database.read(statement("settled"), {"ids": list(job_ids)})
        return {
            (job_id, attempt): Settled(
                job_id=job_id, attempt=attempt, holder=holder, outcome=JobPhase(outcome), failure=failure
            )
            for job_id, attempt, holder, outcome, failure in rows
        }

    async def heartbeat(
        self, beats: Sequence[Beat], *, holder: str = "", lease_seconds: float
    ) -> set[tuple[UUID, int]]:
        """Prolongs leases; answers with the attempts that their holder still has. The others it must give up."""
        ordered = sorted(beats, key=lambda beat: (beat.id, beat.attempt))
        parameters = {"beats": encode_rows(ordered), "holder": holder, "lease_seconds": lease_seconds}
        rows = await self._database.write(statement("heartbeat"), parameters, is_repeatable=True, relaxed=True)
        return {(job_id, attempt) for job_id, attempt in rows}

    async def acknowledge(self, successes: Sequence[Change], actor: str) -> Outcome:
        """Ends attempts that went well; each change names its attempt and holder, and may carry a result."""
        ends = [
            change if change.target is JobPhase.SUCCEEDED else replace(change, target=JobPhase.SUCCEEDED)
            for change in successes
        ]
        return await self._end(ends, actor, "acknowledge")

    async def fail(self, failures: Sequence[Change], actor: str) -> Outcome:
        """Ends attempts that went wrong; the caller has decided what the job becomes: Retrying, DeadLetter, Failed."""
        return await self._end(failures, actor, "fail")

    async def expire(self, expiries: Sequence[Change], actor: str) -> Outcome:
        """Ends attempts whose lease is over, unless a heartbeat came in between."""
        return await self._end([replace(change, is_expiry=True) for change in expiries], actor, "expire")

    async def expired(self, most: int = 500) -> list[ExpiredAttempt]:
        """Attempts whose holder has fallen silent, by the database's clock."""
        rows = await self._database.read(statement("expired"), {"most": most})
        return [ExpiredAttempt(**dict(zip(ExpiredAttempt.__struct_fields__, row, strict=True))) for row in rows]

    async def held_by(self, holder: str, most: int = 1000, after: Attempt | None = None) -> list[Attempt]:
        """The open attempts of a holder, a page at a time."""
        place = {"id": after.job_id if after else LEAST_ID, "attempt": after.attempt if after else 0}
        rows = await self._database.read_records(statement("held_by"), {"holder": holder, "most": most, **place})
        return [as_attempt(row) for row in rows]

    async def _end(self, changes: Sequence[Change], actor: str, action: str) -> Outcome:
        if any(change.attempt is None or change.target is None for change in changes):
            raise ValueError("the end of an attempt names the attempt and what becomes of its job")
        return await self._mover.move(changes, Actor(name=actor, action=action))
