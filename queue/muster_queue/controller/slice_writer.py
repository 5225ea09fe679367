"""Writes EndpointSlices by compare-and-swap, and reads what is there instead where somebody else was first."""

from __future__ import annotations

import msgspec

from muster_api.jobs import AIJob
from muster_api.names import SLICE_MANAGER, SLICE_MANAGER_LABEL
from muster_api.objects import EndpointSlice
from muster_kube.errors import Conflict, NotFound
from muster_kube.failpoints import hit
from muster_kube.resources import ENDPOINT_SLICES
from muster_kube.writer import Writer
from muster_queue.controller.published import Published, job_of
from muster_queue.jobs.endpoints import Change, Deed, slice_body

_slice = msgspec.json.Decoder(EndpointSlice).decode


class ForeignSlice(Conflict):
    """A slice that is not ours has the name of one of ours."""


class SliceWriter:
    """Whatever it learns of a slice goes to `published` at once, so that the next comparison is made with the truth."""

    def __init__(self, writer: Writer, published: Published) -> None:
        self._writer = writer
        self._published = published

    async def write(self, job: AIJob | None, change: Change) -> None:
        """Raises Conflict where the slice was another one meanwhile, and every other ApiError as it comes."""
        metadata = change.slice.metadata
        path = ENDPOINT_SLICES.object_path(metadata.namespace, metadata.name)
        await hit("controller.endpoints.before")
        try:
            if change.deed is Deed.DELETE:
                await self._writer.delete(path, uid=metadata.uid, resource_version=metadata.resource_version)
                self._published.lose_slice(change.slice)
            else:
                assert job is not None
                self._published.see_slice(_slice(await self._put(path, job, change)))
        except Conflict:
            await self._look_again(path, change)
            raise
        except NotFound:
            if change.known is None:
                raise
            self._published.lose_slice(change.known)

    async def _put(self, path: str, job: AIJob, change: Change) -> bytes:
        known = change.known
        if known is not None:
            return await self._writer.replace(path, slice_body(job, change.slice, known.metadata.resource_version))
        collection = ENDPOINT_SLICES.in_namespace(change.slice.metadata.namespace).collection
        return await self._writer.create(collection, slice_body(job, change.slice))

    async def _look_again(self, path: str, change: Change) -> None:
        try:
            found = await self._writer.get(path, EndpointSlice)
        except NotFound:
            if change.known is not None:
                self._published.lose_slice(change.known)
            return
        if not _is_ours(found):
            text = f"EndpointSlice {found.metadata.name} is not Muster's, so members have no names; delete it"
            raise ForeignSlice(409, "AlreadyExists", text)
        self._published.see_slice(found)


def _is_ours(found: EndpointSlice) -> bool:
    """By its label, or by its owner where somebody has taken the label away."""
    owner = found.metadata.controller_owner
    is_labelled = found.metadata.labels.get(SLICE_MANAGER_LABEL) == SLICE_MANAGER
    return job_of(found) is not None and (is_labelled or (owner is not None and owner.kind == "AIJob"))
