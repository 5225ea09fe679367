"""Writes AIJobs: their status by compare-and-swap, and the end of those whose time is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from muster_api.jobs import AIJob, AIJobStatus
from muster_kube.errors import Conflict, NotFound
from muster_kube.resources import AIJOBS
from muster_kube.writer import Writer
from muster_queue.controller.gang_writer import API_VERSION, LostFenceError

_job = msgspec.json.Decoder(AIJob).decode


class JobWriter:
    """Every write says which state it was decided on; one that is out of date changes nothing."""

    def __init__(self, writer: Writer, may_write: Callable[[], bool]) -> None:
        self._writer = writer
        self._may_write = may_write

    async def write(self, job: AIJob, status: AIJobStatus) -> AIJob | None:
        """The job as it is then; None where somebody was first, or it is gone. Raises Unavailable without an answer."""
        self._check()
        metadata = job.metadata
        path = AIJOBS.object_path(metadata.namespace, metadata.name)
        try:
            return _job(await self._writer.replace_status(path, _body(job, status)))
        except (Conflict, NotFound):
            return None

    async def delete(self, job: AIJob) -> None:
        """With all that belongs to it; exactly this state of this job."""
        self._check()
        metadata = job.metadata
        path = AIJOBS.object_path(metadata.namespace, metadata.name)
        try:
            await self._writer.delete(
                path, uid=metadata.uid, resource_version=metadata.resource_version, propagation="Background"
            )
        except (Conflict, NotFound):
            return

    def _check(self) -> None:
        if not self._may_write():
            raise LostFenceError("not leading any more")


def _body(job: AIJob, status: AIJobStatus) -> dict[str, Any]:
    metadata = job.metadata
    return {
        "apiVersion": API_VERSION,
        "kind": "AIJob",
        "metadata": {
            "name": metadata.name,
            "namespace": metadata.namespace,
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
        },
        "spec": job.spec,
        "status": {"phase": status.phase, **msgspec.to_builtins(status)},
    }
