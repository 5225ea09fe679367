"""How what is behind the api fails, in the words that the api turns into answers.

ServiceError
  StorageAway       503: the store cannot be reached, or the change is known not to have happened
  OutcomeUnknown    503: the change may have happened; look before doing it again
  Stale             412: the object is of another version than the caller has seen
  NotFound          404; with a text where that is not about the job itself
  NameTaken         409: another job of that name is still there
  KeyReused         422: the idempotency key came with another request before
  Unstorable        422: the store does not take a value, and never will
  WrongPhase        409: the job is in a phase from which this cannot be done
  Overloaded        429: nothing was done; wait retry_after seconds
"""

from __future__ import annotations


class ServiceError(Exception):
    """Root of everything that a JobService raises on purpose."""


class StorageAway(ServiceError):
    """The store does not answer; nothing has happened."""


class OutcomeUnknown(ServiceError):
    """The store did not say whether it happened."""


class Stale(ServiceError):
    """Somebody changed it meanwhile."""


class NotFound(ServiceError):
    """There is no such object."""


class NameTaken(ServiceError):
    """The name belongs to another job of the namespace that is not gone."""


class KeyReused(ServiceError):
    """The idempotency key was used for another request."""


class Unstorable(ServiceError):
    """The message says what the store says of the value."""


class WrongPhase(ServiceError):
    """The message says in which phase it is, and in which ones this can be done."""


class Overloaded(ServiceError):
    """Too much is under way, of this tenant or of all."""

    def __init__(self, retry_after: float, message: str = "too much is under way") -> None:
        super().__init__(message)
        self.retry_after = retry_after
