"""What becomes of each request of a batch after its statement: pure, from what was stored and who owns the keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec

from muster_queue.storage.errors import KeyReused, NameTaken, StorageError
from muster_queue.storage.records import KeyOwner, NewJob, Request, StoredBatch


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is committed, now or by an earlier request with the same key."""

    jobs: tuple[NewJob, ...]
    """As stored: a job without a name of its own may have got another id meanwhile. Empty for a replay."""
    job_ids: tuple[UUID, ...]
    refused: Mapping[UUID, StorageError] = {}
    """Jobs of a request without a key that could not be stored, by the id that they came with."""
    committed_at: datetime | None = None
    is_replay: bool = False


@dataclass(frozen=True, slots=True)
class Again:
    """A request that has to be stored once more; these of its jobs need new ids, where their name was made of it."""

    jobs: frozenset[UUID]


Result = Receipt | StorageError | Again


def settle(
    request: Request, batch: StoredBatch, owners: Mapping[tuple[str, str], KeyOwner], present: Collection[UUID]
) -> Result:
    """What to answer. `present` are jobs that the statement did not store because an earlier try had."""
    missing = [job for job in request.jobs if job.id in batch.missing and job.id not in present]
    if request.key is None:
        return _settle_without_key(request, batch, missing)
    if all(job.id not in batch.missing for job in request.jobs):
        return whole_receipt(request, batch)
    # The key is asked before the names: those of a repeated request are taken, by its own jobs.
    owner = owners.get((request.key.tenant, request.key.key))
    if owner is None:
        return _settle_without_owner(request, batch, missing)
    if owner.fingerprint != request.key.fingerprint:
        return KeyReused(request.key.key)
    if owner.job_ids == tuple(job.id for job in request.jobs):
        return whole_receipt(request, batch)
    return Receipt(jobs=(), job_ids=owner.job_ids, committed_at=None, is_replay=True)


def _settle_without_owner(request: Request, batch: StoredBatch, missing: Sequence[NewJob]) -> Result:
    taken = [job.name for job in missing if job.id in batch.taken and job.is_named]
    if taken:
        return NameTaken(request.jobs[0].namespace, taken)
    return Again(frozenset(job.id for job in missing))


def needs_owner(request: Request, batch: StoredBatch) -> bool:
    """Whether a request with a key was not stored: then somebody may have stored it before."""
    return request.key is not None and any(job.id in batch.missing for job in request.jobs)


def needs_look(requests: Sequence[Request], batch: StoredBatch) -> list[UUID]:
    """Jobs of requests without a key that may be there from an earlier try."""
    return [
        job.id
        for request in requests
        if request.key is None
        for job in request.jobs
        if job.id in batch.missing and job.id not in batch.taken
    ]


def _settle_without_key(request: Request, batch: StoredBatch, missing: Sequence[NewJob]) -> Result:
    if any(not job.is_named for job in missing):
        return Again(frozenset(job.id for job in missing))
    if not missing:
        return whole_receipt(request, batch)
    refused = {job.id: NameTaken(job.namespace, [job.name]) for job in missing}
    if len(refused) == len(request.jobs) == 1:
        return refused[missing[0].id]
    stored = tuple(job for job in request.jobs if job.id not in refused)
    job_ids = tuple(job.id for job in stored)
    return Receipt(jobs=stored, job_ids=job_ids, refused=refused, committed_at=batch.committed_at)


def whole_receipt(request: Request, batch: StoredBatch) -> Receipt:
    """Of a request whose jobs are all stored."""
    job_ids = tuple([job.id for job in request.jobs])
    return Receipt(jobs=request.jobs, job_ids=job_ids, committed_at=batch.committed_at)
