"""What the layers below raise, in the words that the api turns into answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from muster_queue.intake.errors import Overloaded as IntakeOverloaded
from muster_queue.rest import service_errors as rest
from muster_queue.rest.service_errors import ServiceError
from muster_queue.storage import errors as storage
from muster_queue.storage.errors import StorageError

_KINDS: Final[dict[type[StorageError], type[ServiceError]]] = {
    storage.StorageAway: rest.StorageAway,
    storage.SchemaMismatch: rest.StorageAway,
    storage.OutcomeUnknown: rest.OutcomeUnknown,
    storage.Stale: rest.Stale,
    storage.NameTaken: rest.NameTaken,
    storage.KeyReused: rest.KeyReused,
    storage.Unstorable: rest.Unstorable,
    storage.IllegalTransition: rest.WrongPhase,
}


def service_error(error: StorageError | IntakeOverloaded) -> ServiceError:
    """The same failure as the api knows it."""
    if isinstance(error, IntakeOverloaded):
        return rest.Overloaded(error.retry_after, str(error))
    if isinstance(error, storage.NotFound):
        # Its text names the id; whoever may not see the job must not be able to tell the two cases apart.
        return rest.NotFound()
    kind = next((_KINDS[each] for each in type(error).__mro__ if each in _KINDS), rest.StorageAway)
    return kind(str(error))


@contextmanager
def in_words_of_the_api() -> Iterator[None]:
    """Around calls of the layers below, where they are not on the hot path."""
    try:
        yield
    except (StorageError, IntakeOverloaded) as error:
        raise service_error(error) from error
