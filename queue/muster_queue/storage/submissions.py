"""Stores submissions: a batch of requests with their idempotency keys in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog

from muster_queue.storage.database import Database
from muster_queue.storage.errors import Unstorable
from muster_queue.storage.records import KeyOwner, NewJob, Request, RequestKey, StoredBatch, encode_rows
from muster_queue.storage.statements import statement
from muster_queue.storage.transitions import SHELVES

log = structlog.get_logger(__name__)

_NONE: Final[frozenset[UUID]] = frozenset()


class _JobRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    id: UUID
    namespace: str
    name: str
    is_named: bool
    job_type: str
    queue: str
    cluster: str
    execution: str
    priority: int
    phase: str
    shelf: int
    spec: msgspec.Raw
    submitter: str
    tenant: str | None = None
    key: str | None = None
    labels: Any = None
    trace: str | None = None
    wake_seconds: float | None = None
    object_uid: str | None = None


class _KeyRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    tenant: str
    key: str
    fingerprint: str
    job_ids: tuple[UUID, ...]


class Submissions:
    """Adapter of intake to the tables jobs, idempotency_keys and outbox."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def store(self, requests: Sequence[Request], *, is_careful: bool = False) -> StoredBatch:
        """Commits all that can be stored of these requests; what another one already holds is in `missing`.

        Ids are given by the caller, so that the same batch can be sent again after `OutcomeUnknown`: a job that the
        first try has stored is missing then, and found by its id. No two of the keys in a batch may be equal.
        """
        if not is_careful and all(map(_is_plain, requests)):
            try:
                return await self._store_plainly(requests)
            except Unstorable as error:
                log.info("jobs are stored with care", jobs=len(requests), error=str(error))
        # In the order of the unique indexes, so that two batches that meet wait for each other and never in a ring.
        ordered = sorted(requests, key=_order)
        parameters = {
            "jobs": encode_rows([_job_row(job, request.key) for request in ordered for job in request.jobs]),
            "keys": encode_rows([_key_row(request) for request in ordered if request.key is not None]),
            "careful": is_careful,
        }
        ((committed_at, outbox_id, missing, taken, _),) = await self._database.write(statement("submit"), parameters)
        return StoredBatch(
            committed_at=committed_at, outbox_id=outbox_id, missing=frozenset(missing), taken=frozenset(taken)
        )

    async def _store_plainly(self, requests: Sequence[Request]) -> StoredBatch:
        """Raises Unstorable also where a job is there already, as after a commit of unknown outcome."""
        rows = [_job_row(job, None) for request in requests for job in request.jobs]
        parameters = {"jobs": encode_rows(rows)}
        ((committed_at, outbox_id),) = await self._database.write(statement("submit_plain"), parameters)
        return StoredBatch(committed_at=committed_at, outbox_id=outbox_id, missing=_NONE, taken=_NONE)

    async def owners(self, keys: Sequence[RequestKey]) -> dict[tuple[str, str], KeyOwner]:
        """Which requests these keys belong to, by tenant and key."""
        parameters = {"tenants": [key.tenant for key in keys], "keys": [key.key for key in keys]}
        rows = await self._database.read(statement("look_up_keys"), parameters)
        return {
            (tenant, key): KeyOwner(fingerprint=fingerprint, job_ids=tuple(job_ids))
            for tenant, key, fingerprint, job_ids in rows
        }

    async def forget_keys(self, older_than_seconds: float, most: int = 10_000) -> int:
        """Forgets keys that are too old to be repeated; returns how many."""
        parameters = {"seconds": older_than_seconds, "most": most}
        return len(await self._database.write(statement("forget_keys"), parameters, is_repeatable=True))


def _is_plain(request: Request) -> bool:
    return request.key is None and not any([job.is_named or job.labels for job in request.jobs])


def _order(request: Request) -> tuple[str, str, str, str]:
    tenant, key = (request.key.tenant, request.key.key) if request.key else ("", "")
    first = request.jobs[0]
    return tenant, key, first.namespace, first.name


def _job_row(job: NewJob, key: RequestKey | None) -> _JobRow:
    return _JobRow(
        id=job.id,
        namespace=job.namespace,
        name=job.name,
        is_named=job.is_named,
        tenant=key.tenant if key else None,
        key=key.key if key else None,
        job_type=job.job_type,
        queue=job.queue,
        cluster=job.cluster,
        execution=job.execution,
        priority=job.priority,
        phase=job.phase,
        shelf=SHELVES[job.phase],
        labels=job.labels or None,
        spec=job.spec,
        submitter=job.submitter,
        trace=job.trace,
        wake_seconds=job.wake_seconds,
        object_uid=job.object_uid,
    )


def _key_row(request: Request) -> _KeyRow:
    assert request.key is not None
    return _KeyRow(
        tenant=request.key.tenant,
        key=request.key.key,
        fingerprint=request.key.fingerprint.hex(),
        job_ids=tuple(job.id for job in request.jobs),
    )
