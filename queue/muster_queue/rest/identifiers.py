"""Ids of jobs: UUIDv7, which sort by time, so that an index grows at one end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Final
from uuid import UUID

import msgspec

from muster_queue.rest.job_types import NamespaceName, QueueName
from muster_queue.rest.problems import Kind, ProblemError

_POOL_FIELDS: Final = {"namespace": NamespaceName, "queue": QueueName}


def _random_digits() -> Iterator[str]:
    """19 hexadecimal digits at a time; one system call is enough for hundreds of ids."""
    while True:
        digits = os.urandom(19 * 128).hex()
        for start in range(0, len(digits), 19):
            yield digits[start : start + 19]


_RANDOM_DIGITS: Final = _random_digits()
_VARIANTS: Final = {f"{digit:x}": f"{0b1000 | digit & 0b11:x}" for digit in range(16)}
"""Two bits of a digit behind the two that say which kind of UUID it is."""


def new_job_id() -> str:
    """48 bits of milliseconds, then 74 random ones (RFC 9562, section 5.7)."""
    time_part = f"{time.time_ns() // 1_000_000:012x}"
    random = next(_RANDOM_DIGITS)
    variant = _VARIANTS[random[18]]
    return f"{time_part[:8]}-{time_part[8:]}-7{random[:3]}-{variant}{random[3:6]}-{random[6:18]}"


def default_name(job_id: str) -> str:
    """What a job is called whose author gave it no name."""
    return f"job-{job_id.replace('-', '')[:20]}"


def read_job_id(text: str) -> str:
    """A job's id as it is kept; anything else is the id of no job."""
    try:
        if len(text) == 36:
            return str(UUID(text))
    except ValueError:
        pass
    raise ProblemError(Kind.NOT_FOUND, "there is no such job, or you may not see it")


def pool_of(parameters: Mapping[str, str]) -> tuple[str, str]:
    """The namespace and the queue of a path; raises where one of them is no name."""
    for field, kind in _POOL_FIELDS.items():
        try:
            msgspec.convert(parameters[field], kind)
        except msgspec.ValidationError:
            raise ProblemError(Kind.NOT_FOUND, f"{field}: this is no name of one") from None
    return parameters["namespace"], parameters["queue"]
