"""Which answers of the API server count as the loss of an AIJob."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from muster_api.phases import JobPhase
from muster_kube.errors import ApiError, NotFound, error_from_answer
from muster_queue.dispatch.objects import JobObjects
from muster_queue.storage.records import Job

PAGE = b"404 page not found\n"
"""What is said where the kind is not installed, and by proxies that find no server."""
STATUS = msgspec.json.encode({"kind": "Status", "reason": "NotFound", "message": 'namespaces "team-a" not found'})
NOW = datetime(2026, 1, 1, tzinfo=UTC)
JOB = Job(
    id=UUID("01980000-0000-7000-8000-000000000001"),
    namespace="team-a",
    name="one",
    job_type="training",
    queue="default",
    cluster="",
    execution="pod",
    priority=50,
    phase=JobPhase.QUEUED,
    reason="",
    message="",
    version=1,
    attempt=0,
    retries=0,
    labels={},
    spec=msgspec.Raw(b'{"jobType":"training"}'),
    submitter="ada",
    created_at=NOW,
    updated_at=NOW,
)


class Nowhere:
    """Answers everything with a 404 of this body."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def get(self, *_: object, **__: object) -> object:
        raise error_from_answer(404, self._body, is_write=False)

    async def create(self, *_: object, **__: object) -> bytes:
        raise error_from_answer(404, self._body, is_write=True)


async def test_an_object_is_gone_only_where_the_api_server_says_so() -> None:
    assert await JobObjects(Nowhere(STATUS), lambda: True).find("team-a", "one") is None
    with pytest.raises(ApiError, match="page not found"):
        await JobObjects(Nowhere(PAGE), lambda: True).find("team-a", "one")


async def test_a_namespace_is_missing_only_where_the_api_server_says_so() -> None:
    with pytest.raises(NotFound, match="team-a"):
        await JobObjects(Nowhere(STATUS), lambda: True).create(JOB)
    with pytest.raises(ApiError, match="page not found") as raised:
        await JobObjects(Nowhere(PAGE), lambda: True).create(JOB)
    assert not isinstance(raised.value, NotFound)
