"""What a job is known and ordered by, wherever it was submitted: its id, and the time of its submission."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from muster_api.names import JOB_ID_ANNOTATION, QUEUED_ANNOTATION, SUBMITTED_ANNOTATION
from muster_api.objects import ObjectMeta

_VERSION: Final = 7 << 76
_VARIANT: Final = 2 << 62
_SECOND: Final = len("2026-01-01T00:00:00Z")


def moment_text(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds: texts of one width, which sort as the moments do."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def widened(timestamp: str | None) -> str:
    """A meta/v1 Time, which has whole seconds, so that it sorts beside those that have more."""
    if timestamp is not None and len(timestamp) == _SECOND and timestamp.endswith("Z"):
        return f"{timestamp[:-1]}.000000Z"
    return timestamp or ""


def submitted_text(metadata: ObjectMeta) -> str:
    """When the job behind an AIJob was submitted; made with kubectl, when it was created."""
    return metadata.annotations.get(SUBMITTED_ANNOTATION) or widened(metadata.creation_timestamp)


def order_text(metadata: ObjectMeta) -> str:
    """The same with the job's id behind it: jobs that were submitted together keep one order everywhere."""
    return f"{submitted_text(metadata)} {job_id_of(metadata)}"


def waiting_since(metadata: ObjectMeta) -> str | None:
    """From when the time counts that a job may wait, where its status does not say."""
    return metadata.annotations.get(QUEUED_ANNOTATION) or metadata.creation_timestamp


def stated_id(metadata: ObjectMeta) -> UUID | None:
    """The job that an AIJob was made for; None for one that somebody has made with kubectl."""
    try:
        return UUID(metadata.annotations[JOB_ID_ANNOTATION])
    except (KeyError, ValueError):
        return None


def job_id_of(metadata: ObjectMeta) -> UUID:
    """The id of the job behind an AIJob: told, or always the same UUIDv7 from its uid and the time of its creation."""
    stated = stated_id(metadata)
    if stated is not None:
        return stated
    created = datetime.fromisoformat(metadata.creation_timestamp) if metadata.creation_timestamp else None
    milliseconds = int(created.timestamp()) * 1000 if created is not None else 0
    random = int.from_bytes(hashlib.sha256(metadata.uid.encode()).digest()[:10])
    high, low = random >> 62 & 0xFFF, random & ((1 << 62) - 1)
    return UUID(int=milliseconds << 80 | _VERSION | high << 64 | _VARIANT | low)
