"""Jobs and requests for tests of storage and intake, with defaults for all that a test does not care about."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from muster_queue.storage.database import Database
from muster_queue.storage.identifiers import JobIds, generated_name
from muster_queue.storage.records import NewJob, Request, RequestKey, StoredBatch
from muster_queue.storage.settings import StorageSettings

IDS = JobIds()
SPEC = msgspec.Raw(b'{"jobType":"inference","image":"pytorch:latest","config":{"model":"resnet50","batch_size":32}}')


def make_job(name: str = "", **fields: Any) -> NewJob:
    job_id = fields.pop("id", None) or IDS.make()
    given: dict[str, Any] = {
        "id": job_id,
        "namespace": "team-a",
        "name": name or generated_name(job_id),
        "is_named": bool(name),
        "job_type": "inference",
        "queue": "default",
        "spec": SPEC,
        "submitter": "ada",
    }
    return NewJob(**(given | fields))


def make_request(*jobs: NewJob, key: str | None = None, body: str = "") -> Request:
    """With a key the body stands for the whole request: another body is another request."""
    jobs = jobs or (make_job(),)
    if key is None:
        return Request(jobs=jobs)
    fingerprint = hashlib.sha256(body.encode()).digest()
    return Request(jobs=jobs, key=RequestKey(tenant="team-a", key=key, fingerprint=fingerprint))


def make_settings(url: str, **fields: Any) -> StorageSettings:
    return StorageSettings(**({"database_url": url, "database_connections": 4} | fields))


def open_database(url: str, **fields: Any) -> Database:
    """A context manager."""
    return Database(make_settings(url, **fields))


class Told:
    """What the index would have been told."""

    def __init__(self) -> None:
        self.commits: list[list[NewJob]] = []

    def __call__(self, jobs: Sequence[NewJob], batch: StoredBatch) -> None:
        self.commits.append(list(jobs))
