"""Tells a job's trace when its gang was let in, and since when it had waited."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from muster_api.gangs import Gang
from muster_api.jobs import AIJob
from muster_kube.tracing import Attributes, Tracer, follow
from muster_queue.jobs.environment import trace_of
from muster_queue.jobs.ordering import waiting_since

ADMITTED: Final = "gang admitted"


def trace_admission(tracer: Tracer, job: AIJob, gang: Gang) -> None:
    """A span that ends now: the gang's tickets are out."""
    if not tracer.is_on:
        return
    attributes: Attributes = {
        "muster.namespace": job.metadata.namespace,
        "muster.job": job.metadata.name,
        "muster.gang": gang.spec.id,
        "muster.epoch": gang.status.epoch,
        "muster.members": gang.spec.members,
    }
    follow(tracer, ADMITTED, trace_of(job), attributes, since=_queued(job)).end()


def _queued(job: AIJob) -> datetime | None:
    try:
        return datetime.fromisoformat(job.status.queued_time or waiting_since(job.metadata) or "")
    except ValueError:
        return None
