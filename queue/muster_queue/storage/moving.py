"""Changes jobs: each change with its event, audit and outbox in one statement, and only where it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from muster_api.phases import JobPhase
from muster_queue.storage.database import Database
from muster_queue.storage.errors import IllegalTransition, NotFound, Stale, StorageError
from muster_queue.storage.records import Actor, Change, Moved, encode_rows
from muster_queue.storage.statements import statement
from muster_queue.storage.transitions import is_legal


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of each of the changes of a batch."""

    moved: dict[UUID, Moved]
    refused: dict[UUID, StorageError]


class Mover:
    """The only writer of phases after a submission, beside the claim."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def move(self, changes: Sequence[Change], actor: Actor) -> Outcome:
        """Makes the changes that may be made, all in one commit, and says of the others why not."""
        if len({change.job_id for change in changes}) != len(changes):
            raise ValueError("a job can be changed only once in a batch")
        parameters = {
            "changes": encode_rows([change.as_row() for change in sorted(changes, key=lambda c: c.job_id)]),
            "actor": actor.name,
            "action": actor.action,
            "details": None if actor.details is None else encode_rows([actor.details])[1:-1],
        }
        rows = await self._database.write(statement("move"), parameters)
        moved = {
            job_id: Moved(
                job_id=job_id,
                source=JobPhase(source),
                target=JobPhase(target),
                version=version,
                attempt=attempt,
                outbox_id=outbox_id,
            )
            for job_id, source, target, version, attempt, outbox_id, _ in rows
        }
        return Outcome(moved, await self._explain([change for change in changes if change.job_id not in moved]))

    async def move_one(self, change: Change, actor: Actor) -> Moved:
        """One change; raises why it could not be made."""
        outcome = await self.move([change], actor)
        for error in outcome.refused.values():
            raise error
        return outcome.moved[change.job_id]

    async def _explain(self, changes: Sequence[Change]) -> dict[UUID, StorageError]:
        if not changes:
            return {}
        rows = await self._database.read(statement("explain_refusals"), {"ids": [change.job_id for change in changes]})
        found = {row[0]: row for row in rows}
        return {change.job_id: _reason(change, found.get(change.job_id)) for change in changes}


def _reason(change: Change, row: tuple[UUID, str, int, int, bool] | None) -> StorageError:
    """Why a change did not hold; the job may have moved on once more since."""
    if row is None or row[4]:
        return NotFound(change.job_id)
    _, phase, version, attempt, _ = row
    if change.version is not None and change.version != version:
        return Stale(change.job_id, change.version, version)
    if change.attempt is not None and is_legal(JobPhase(phase), change.target or JobPhase(phase)):
        return Stale(change.job_id, change.attempt, attempt)
    return IllegalTransition(change.job_id, phase, change.target or phase)
