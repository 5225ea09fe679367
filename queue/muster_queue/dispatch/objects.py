"""The AIJobs of the API server: made, changed and deleted for the queue service, and only while this process leads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from muster_api.jobs import AIJob
from muster_api.names import RETRY_ANNOTATION
from muster_kube.errors import AlreadyExists, ApiError, Conflict, NotFound, Unavailable
from muster_kube.failpoints import hit
from muster_kube.resources import AIJOBS
from muster_kube.writer import Writer
from muster_queue.dispatch.mirroring import Carry
from muster_queue.dispatch.rendering import object_of
from muster_queue.jobs.ordering import job_id_of
from muster_queue.storage.records import Job

CALL_SECONDS: Final = 10.0

_job = msgspec.json.Decoder(AIJob).decode


class NotLeadingError(Exception):
    """Another process leads: nothing is written any more."""


class ForeignObjectError(Exception):
    """There is an AIJob of that name that stands for something else."""


class JobObjects:
    """Every call may be repeated; none changes another object than the one that was meant."""

    def __init__(self, writer: Writer, may_write: Callable[[], bool]) -> None:
        self._writer = writer
        self._may_write = may_write

    async def create(self, job: Job) -> AIJob:
        """The AIJob of the job, also where it was there already; raises ForeignObjectError and ApiError."""
        self._check()
        await hit("dispatch-create")
        try:
            made = _job(
                await self._writer.create(
                    AIJOBS.in_namespace(job.namespace).collection, object_of(job), timeout=CALL_SECONDS
                )
            )
        except AlreadyExists:
            made = await self._known(job)
        except NotFound as error:
            raise _believed(error) from error
        await hit("dispatch-created")
        return made

    async def find(self, namespace: str, name: str) -> AIJob | None:
        """As it is now, whatever the caches say; None only where the API server says that there is none."""
        path = AIJOBS.object_path(namespace, name)
        try:
            return await self._writer.get(path, AIJob, timeout=CALL_SECONDS)
        except NotFound as error:
            if isinstance(_believed(error), NotFound):
                return None
            raise _believed(error) from error

    async def carry(self, job: AIJob, wanted: Carry) -> AIJob | None:
        """What is asked of the job is written into it; None where it is another one or gone."""
        self._check()
        metadata: dict[str, Any] = {"uid": job.metadata.uid}
        if wanted.retry is not None:
            metadata["annotations"] = {RETRY_ANNOTATION: wanted.retry}
        spec = {"priority": wanted.priority, "suspend": wanted.suspend}
        body = {"metadata": metadata, "spec": {key: value for key, value in spec.items() if value is not None}}
        path = AIJOBS.object_path(job.metadata.namespace, job.metadata.name)
        try:
            return _job(await self._writer.patch_merge(path, body, timeout=CALL_SECONDS))
        except (Conflict, NotFound):
            return None

    async def delete(self, job: AIJob) -> None:
        """With all that belongs to it; another one of that name stays."""
        self._check()
        path = AIJOBS.object_path(job.metadata.namespace, job.metadata.name)
        try:
            await self._writer.delete(path, uid=job.metadata.uid, propagation="Background", timeout=CALL_SECONDS)
        except (Conflict, NotFound):
            return

    async def _known(self, job: Job) -> AIJob:
        found = await self.find(job.namespace, job.name)
        if found is None:
            raise ApiError(409, "Conflict", "an AIJob of that name has just been deleted")
        if job_id_of(found.metadata) != job.id:
            raise ForeignObjectError(f"there is an AIJob {job.namespace}/{job.name} that was made by somebody else")
        return found

    def _check(self) -> None:
        if not self._may_write():
            raise NotLeadingError("not leading any more")


def _believed(error: NotFound) -> ApiError:
    """Only what the API server says of an object or a namespace is taken for a loss.

    Where the kind itself is missing for a while, or something before the API server answers in its stead, it is a page.
    """
    return error if error.reason == "NotFound" else Unavailable(error.status, error.reason, error.message)
