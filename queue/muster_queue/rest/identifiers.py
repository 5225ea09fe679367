"""Ids of jobs: UUIDv7, which sort by time, so that an index grows at one end."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Final
from uuid import UUID

import msgspec

from muster_queue.rest.job_types import NamespaceName, QueueName
from muster_queue.rest.problems import Kind, ProblemError

_POOL_FIELDS: Final = {"namespace": NamespaceName, "queue": QueueName}


def new_job_id() -> str:
    """48 bits of milliseconds, then 74 random ones (RFC 9562, section 5.7)."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


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
