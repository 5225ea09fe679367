"""Everything that is not a success, as RFC 9457 problem details: what is wrong, where, and what to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum
from typing import Final

import msgspec

from muster_api.field_errors import FieldError
from muster_queue.identity.errors import IdentityError, IdentityUnavailable, TooManyTokens, Unauthenticated
from muster_queue.rest.service_errors import (
    KeyReused,
    NameTaken,
    NotFound,
    OutcomeUnknown,
    Overloaded,
    ServiceError,
    Stale,
    StorageAway,
    Unstorable,
    WrongPhase,
)

PROBLEM_TYPE: Final = b"application/problem+json"
AWAY_SECONDS: Final = 2.0
"""When to come again to a service that lost its store, or the API server."""
_MOST_ERRORS: Final = 100


class Kind(Enum):
    """Every kind of problem: its slug, its status, and its title."""

    MALFORMED = ("malformed", 400, "The request cannot be read")
    INVALID = ("invalid", 400, "The request does not match the schema")
    UNAUTHENTICATED = ("unauthenticated", 401, "Nobody knows who is asking")
    FORBIDDEN = ("forbidden", 403, "This is not allowed")
    NOT_FOUND = ("not-found", 404, "There is no such thing")
    WRONG_METHOD = ("wrong-method", 405, "This method is not for this path")
    NAME_TAKEN = ("name-taken", 409, "The name is taken")
    WRONG_PHASE = ("wrong-phase", 409, "The job is in another phase")
    STALE = ("stale", 412, "The job has changed meanwhile")
    TOO_LARGE = ("too-large", 413, "The body is too large")
    WRONG_MEDIA = ("wrong-media", 415, "This media type is not read here")
    CONTRADICTORY = ("contradictory", 422, "The fields of the job do not go together")
    KEY_REUSED = ("key-reused", 422, "The idempotency key came with another request")
    LARGE_HEADERS = ("large-headers", 431, "The headers are too large")
    OVERLOADED = ("overloaded", 429, "Too many requests")
    BROKEN = ("broken", 500, "Something went wrong inside")
    AWAY = ("away", 503, "The service cannot do this now")
    UNKNOWN = ("unknown-outcome", 503, "It is not known whether this was done")

    @property
    def slug(self) -> str:
        return self.value[0]

    @property
    def status(self) -> int:
        return self.value[1]


class FieldProblem(msgspec.Struct, frozen=True):
    """One field, by its path, and what would be accepted."""

    field: str
    detail: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457, with the fields that are wrong and, where the outcome is unknown, the job to ask for."""

    type: str
    title: str
    status: int
    detail: str = ""
    errors: tuple[FieldProblem, ...] = ()
    job_id: str = ""


class ProblemError(Exception):
    """Ends a request with this problem."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        errors: Sequence[FieldError] = (),
        *,
        headers: Sequence[tuple[bytes, bytes]] = (),
        job_id: str = "",
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.headers = tuple(headers)
        shown = tuple(FieldProblem(error.path, error.message) for error in errors[:_MOST_ERRORS])
        self.problem = Problem(
            type=f"urn:muster:problem:{kind.slug}",
            title=kind.value[2],
            status=kind.status,
            detail=detail,
            errors=shown,
            job_id=job_id,
        )


_SERVICE_KINDS: Final[dict[type[ServiceError], Kind]] = {
    StorageAway: Kind.AWAY,
    OutcomeUnknown: Kind.UNKNOWN,
    Stale: Kind.STALE,
    NotFound: Kind.NOT_FOUND,
    NameTaken: Kind.NAME_TAKEN,
    KeyReused: Kind.KEY_REUSED,
    Unstorable: Kind.CONTRADICTORY,
    WrongPhase: Kind.WRONG_PHASE,
    Overloaded: Kind.OVERLOADED,
}
_SERVICE_DETAILS: Final[dict[Kind, str]] = {
    Kind.AWAY: "nothing was done; try again in a moment",
    Kind.UNKNOWN: "it may have been done; look before doing it again",
    Kind.STALE: "read the job again, and decide on what it is now",
    Kind.NOT_FOUND: "there is no such job, or you may not see it",
    Kind.NAME_TAKEN: "another job of this name is still there; choose another name",
    Kind.KEY_REUSED: "use a new Idempotency-Key for a new request",
    Kind.WRONG_PHASE: "this cannot be done in the job's phase",
    Kind.OVERLOADED: "nothing was done; wait before the next request",
}


def problem_of(error: ServiceError | IdentityError) -> ProblemError:
    """How an error of the layers below is answered."""
    if isinstance(error, ServiceError):
        return _service_problem(error)
    if isinstance(error, TooManyTokens):
        return ProblemError(Kind.OVERLOADED, str(error), headers=retry_after(error.retry_after))
    if isinstance(error, IdentityUnavailable):
        return ProblemError(Kind.AWAY, str(error), headers=retry_after(AWAY_SECONDS))
    return ProblemError(Kind.UNAUTHENTICATED, str(error), headers=_challenge(error))


def _service_problem(error: ServiceError) -> ProblemError:
    kind = next((_SERVICE_KINDS[each] for each in type(error).__mro__ if each in _SERVICE_KINDS), Kind.BROKEN)
    has_words = isinstance(error, WrongPhase | Overloaded | Unstorable | NotFound) and bool(str(error))
    detail = str(error) if has_words else _SERVICE_DETAILS.get(kind, "")
    if isinstance(error, Overloaded):
        return ProblemError(kind, detail, headers=retry_after(error.retry_after))
    return ProblemError(kind, detail, headers=retry_after(AWAY_SECONDS) if kind.status == 503 else ())


def retry_after(seconds: float) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"retry-after", str(max(1, math.ceil(seconds))).encode()),)


def _challenge(error: IdentityError) -> tuple[tuple[bytes, bytes], ...]:
    # RFC 6750: the error is named only where a token was shown.
    shown = isinstance(error, Unauthenticated) and not str(error).startswith("send ")
    return (
        (b"www-authenticate", b'Bearer realm="muster", error="invalid_token"' if shown else b'Bearer realm="muster"'),
    )
