"""What the api and a worker say to each other; the api's own description is at /openapi.json."""

from __future__ import annotations

from typing import Any

import msgspec

LARGEST_RESULT = 64 << 10
LONGEST_MESSAGE = 1024
MOST_LEASES = 100
MOST_AT_ONCE = 200
"""Of one request."""
LARGEST_REQUEST = 2 << 20
"""Half of what the api reads."""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is this worker's."""

    job_id: str
    attempt: int
    name: str
    job_type: str
    lease_seconds: float
    config: dict[str, Any] = {}
    timeout_seconds: float | None = None
    trace: str | None = None

    @property
    def key(self) -> tuple[str, int]:
        return self.job_id, self.attempt


class Leases(msgspec.Struct, frozen=True, kw_only=True):
    leases: list[Lease]


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    job_id: str
    attempt: int


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    lease_seconds: float
    lost: list[Reference]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    job_id: str
    attempt: int
    verdict: str
    detail: str = ""


class Verdicts(msgspec.Struct, frozen=True, kw_only=True):
    attempts: list[Verdict]


class Success(msgspec.Struct, frozen=True, kw_only=True):
    job_id: str
    attempt: int
    result: msgspec.Raw


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    job_id: str
    attempt: int
    failure: str
    message: str
    exit_code: int | None = None


End = Success | Failure


def success(lease: Lease, result: dict[str, Any]) -> End:
    """A result that is too large to be kept is a failure that no retry can help."""
    encoded = msgspec.json.encode(result)
    if len(encoded) > LARGEST_RESULT:
        return failure(lease, "validation", f"the result has {len(encoded)} bytes, and {LARGEST_RESULT} are kept")
    return Success(job_id=lease.job_id, attempt=lease.attempt, result=msgspec.Raw(encoded))


def failure(lease: Lease, kind: str, message: str, exit_code: int | None = None) -> End:
    plain = message.replace("\x00", "").encode(errors="replace").decode()[:LONGEST_MESSAGE]
    return Failure(job_id=lease.job_id, attempt=lease.attempt, failure=kind, message=plain, exit_code=exit_code)
