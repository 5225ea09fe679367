"""What can go wrong between the queue and its database, in the words of what to do about it.

StorageError
  StorageAway          no answer, or an orderly refusal: nothing was written, ask again later
    Contended          rolled back because of other transactions, again and again
  OutcomeUnknown       the connection was lost after a write was sent: it may have been committed
  SchemaMismatch       the database has another revision than this program was made for
  Unstorable           the database refuses a value; it will stay refused
  NotFound             there is no such job or attempt
  Stale                the job has moved on since it was read
  IllegalTransition    the job may not go from its phase to the one asked for
  NameTaken            another job of the namespace has this name
  KeyReused            the idempotency key belongs to another request
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID


class StorageError(Exception):
    """Root of everything that this package raises on purpose."""


class StorageAway(StorageError):
    """The database cannot be reached or cannot write now; what was asked has certainly not happened."""


class Contended(StorageAway):
    """Other transactions were in the way each time."""


class OutcomeUnknown(StorageError):
    """A write was sent and no answer came: ask for its result before doing anything else."""


class SchemaMismatch(StorageError):
    """The schema has another revision than the program expects; `muster-queue migrate up` mends it."""


class Unstorable(StorageError):
    """A value that the database does not take, such as a NUL character in a text."""


class NotFound(StorageError):
    """There is no job, or no attempt, of this id."""

    def __init__(self, job_id: UUID) -> None:
        super().__init__(f"there is no job {job_id}")
        self.job_id = job_id


class Stale(StorageError):
    """The job is at another version than the caller has seen; read again and decide anew."""

    def __init__(self, job_id: UUID, expected: int, version: int) -> None:
        super().__init__(f"job {job_id} is at version {version}, not {expected}")
        self.job_id = job_id
        self.version = version


class IllegalTransition(StorageError):
    """The state machine has no such move."""

    def __init__(self, job_id: UUID, source: str, target: str) -> None:
        super().__init__(f"job {job_id} is {source} and cannot become {target}")
        self.job_id = job_id
        self.source = source
        self.target = target


class NameTaken(StorageError):
    """Names are unique among the jobs of a namespace that are not gone."""

    def __init__(self, namespace: str, names: Sequence[str]) -> None:
        listed = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
        super().__init__(f"namespace {namespace} already has a job of the name {listed}")
        self.namespace = namespace
        self.names = tuple(names)


class KeyReused(StorageError):
    """The same idempotency key came with another request before."""

    def __init__(self, key: str) -> None:
        super().__init__("this idempotency key was used for another request")
        self.key = key
