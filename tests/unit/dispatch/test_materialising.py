"""What the trace of a job is told when its AIJob is made, or is not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from bones.clock import ManualClock
from bones.span_notes import TRACE, SpanNotes
from muster_api.jobs import AIJob, AIJobSpec, JobType
from muster_api.objects import ObjectMeta
from muster_api.phases import JobPhase
from muster_kube.errors import Unavailable
from muster_queue.dispatch.materialiser import Materialiser
from muster_queue.dispatch.metrics import DispatchMetrics
from muster_queue.dispatch.objects import ForeignObjectError
from muster_queue.dispatch.settings import DispatchSettings
from muster_queue.storage.records import Job, Made, PodCandidate

ID = UUID("01980000-0000-7000-8000-000000000001")
AIJOB = AIJob(metadata=ObjectMeta(name="one", namespace="team", uid="u"), spec=AIJobSpec(job_type=JobType.TRAINING))


class OneJob:
    """All that is around a materialiser: one job that waits, and an API server that says one thing."""

    def __init__(self, trace: str | None, answer: AIJob | Exception) -> None:
        self.clock = ManualClock()
        self.trace = trace
        self.answer = answer

    async def candidates(self, most: int) -> list[PodCandidate]:
        return [PodCandidate(id=ID, namespace="team", queue="default", priority=50, created_at=self.clock.now())]

    async def find(self, job_ids: list[UUID]) -> dict[UUID, Any]:
        given = {name: None for name in Job.__struct_fields__}
        told = {
            "id": ID,
            "namespace": "team",
            "name": "one",
            "phase": JobPhase.QUEUED,
            "trace": self.trace,
            "version": 1,
        }
        return {ID: Job(**(given | told | {"created_at": self.clock.now()}))}

    async def create(self, job: Job) -> AIJob:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def mark_made(self, made: list[Made]) -> None:
        return

    async def move(self, changes: list[Any], actor: Any) -> Any:
        return SimpleNamespace(moved=changes)

    def waiting(self) -> dict[Any, Any]:
        return {}

    def see_answer(self, job: AIJob) -> None:
        return

    async def look(self) -> SpanNotes:
        notes, settings = SpanNotes(), DispatchSettings(dispatch_interval=0.001)
        metrics = DispatchMetrics(CollectorRegistry())
        await Materialiser(settings, self, self, self, self, self, metrics, self.clock, notes).round()
        return notes


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (AIJOB, ""),
        (ForeignObjectError("another has the name"), "another has the name"),
        (Unavailable("away"), "not made now, but later"),
    ],
    ids=["made", "refused", "later"],
)
async def test_the_trace_of_a_job_is_told_what_became_of_its_aijob(answer: AIJob | Exception, error: str) -> None:
    (span,) = (await OneJob(TRACE, answer).look()).spans
    assert (span.name, span.parent, span.error) == ("make AIJob", TRACE, error)
    assert span.attributes == {"muster.namespace": "team", "muster.job": "one", "muster.job_id": str(ID)}


async def test_a_job_without_a_trace_gets_none() -> None:
    assert (await OneJob(None, AIJOB).look()).spans == []
