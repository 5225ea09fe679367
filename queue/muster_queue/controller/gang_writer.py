"""Writes Gangs and the fence, each by compare-and-swap; an outcome that is unknown is resolved by reading."""

from __future__ import annotations

import asyncio
import secrets
from base64 import b32encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import structlog

from muster_api.gangs import Fence, Gang, GangStatus, PlacementTerm
from muster_api.names import GROUP, PLACEMENT_TERM, VERSION, gang_object_name, job_gang_name
from muster_api.tickets import JOB_PREFIX
from muster_kube.backoff import Backoff
from muster_kube.errors import AlreadyExists, AmbiguousWrite, Conflict, NotFound, TooManyRequests, Unavailable
from muster_kube.resources import GANGS, PLACEMENT_TERMS
from muster_kube.session import ApiSession
from muster_kube.wire import decode_page
from muster_kube.writer import Writer
from muster_queue.controller.members import Member
from muster_queue.jobs.templates import JobTemplate, owner_reference

log = structlog.get_logger(__name__)

API_VERSION: Final = f"{GROUP}/{VERSION}"
FENCE_PATH: Final = PLACEMENT_TERMS.object_path(None, PLACEMENT_TERM)
PAGE_SIZE: Final = "500"
LONGEST_PAUSE: Final = 5.0

_gang = msgspec.json.Decoder(Gang).decode
_term = msgspec.json.Decoder(PlacementTerm).decode


class LostFenceError(Exception):
    """Another leader has moved the fence: whatever this one decided must not be written any more."""


@dataclass(frozen=True, slots=True)
class Written:
    """How a compare-and-swap ended: whether it was ours, and the object as it is now (None: gone)."""

    is_ours: bool
    gang: Gang | None


class GangWriter:
    """Each write ends with certainty: it is repeated until it is known to have happened, or to be out of date."""

    def __init__(self, session: ApiSession, writer: Writer, may_write: Callable[[], bool]) -> None:
        self._session = session
        self._writer = writer
        self._may_write = may_write

    async def move(self, gang: Gang, status: GangStatus, *, is_patient: bool = True) -> Written:
        """Replaces the status if nobody has touched the Gang since.

        Without patience it raises Unavailable where no answer comes: what takes something down has to be decided
        anew once the API server is back, since pods may have been bound meanwhile.
        """
        path = GANGS.object_path(gang.metadata.namespace, gang.metadata.name)
        body = msgspec.json.encode(_status_body(gang, status))
        pauses = Backoff(0.1, LONGEST_PAUSE)
        while True:
            self._check()
            try:
                return Written(True, _gang(await self._writer.replace_status(path, body)))
            except NotFound:
                return Written(False, None)
            except Conflict:
                return await self._look(gang, status)
            except (Unavailable, TooManyRequests) as error:
                if not is_patient:
                    raise
                # The same compare-and-swap again: it happens once at most, and a conflict then tells which it was.
                log.warning("gang not written yet", gang=gang.key, error=str(error))
                await asyncio.sleep(pauses.next_delay())

    async def create(self, first: Member) -> Gang | None:
        """A new incarnation of the gang that this member speaks for; None where the watch will tell of it."""
        self._check()
        try:
            return _gang(await self._writer.create(GANGS.in_namespace(first.namespace).collection, _new_body(first)))
        except (AlreadyExists, AmbiguousWrite):
            return None

    async def create_for_job(self, template: JobTemplate) -> Gang | None:
        """The gang of a job, which goes with it; None where the watch will tell of one."""
        self._check()
        path = GANGS.in_namespace(template.job.metadata.namespace).collection
        try:
            return _gang(await self._writer.create(path, _new_job_body(template)))
        except (AlreadyExists, AmbiguousWrite):
            return None

    async def delete(self, gang: Gang) -> bool:
        """Deletes exactly this state of this incarnation; false where it has moved on."""
        self._check()
        metadata = gang.metadata
        path = GANGS.object_path(metadata.namespace, metadata.name)
        try:
            await self._writer.delete(path, uid=metadata.uid, resource_version=metadata.resource_version)
        except NotFound:
            return True
        except (Conflict, AmbiguousWrite):
            return False
        return True

    async def list_all(self) -> list[Gang]:
        """A quorum read of every Gang: nothing written before it is missing. One that cannot be read is left out."""
        gangs: list[Gang] = []
        parameters = {"limit": PAGE_SIZE}
        while True:
            page = decode_page(await self._session.list(GANGS.collection, parameters))
            for item in page.items:
                try:
                    gangs.append(_gang(item))
                except msgspec.DecodeError as error:
                    log.error("gang cannot be decoded", error=str(error))
            if not page.metadata.continue_:
                return gangs
            parameters["continue"] = page.metadata.continue_

    async def read_fence(self) -> PlacementTerm | None:
        """A quorum read; None when there is no fence yet."""
        try:
            return await self._writer.get(FENCE_PATH, PlacementTerm)
        except NotFound:
            return None

    async def raise_fence(self, known: PlacementTerm | None, fence: Fence) -> PlacementTerm:
        """Compare-and-swap of the one fence; raises LostFenceError when it is not as known."""
        body = _fence_body(known, fence)
        pauses = Backoff(0.1, LONGEST_PAUSE)
        while True:
            self._check()
            try:
                if known is None:
                    return _term(await self._writer.create(PLACEMENT_TERMS.collection, body))
                return _term(await self._writer.replace(FENCE_PATH, body))
            except (Conflict, NotFound) as error:
                found = await self.read_fence()
                # Terms are raised by one per leader and sequences by one leader: the same numbers are our own write.
                if found is not None and known is not None and found.spec == fence and fence.seq > 0:
                    return found
                raise LostFenceError(f"the fence is at {found.spec if found else None}") from error
            except (Unavailable, TooManyRequests) as error:
                log.warning("fence not raised yet", error=str(error))
                await asyncio.sleep(pauses.next_delay())

    def _check(self) -> None:
        # Saves work only: what a process writes that slept past its lease fails its compare-and-swap.
        if not self._may_write():
            raise LostFenceError("not leading any more")

    async def _look(self, gang: Gang, status: GangStatus) -> Written:
        """Who was first: somebody else, or this very write before its answer was lost."""
        path = GANGS.object_path(gang.metadata.namespace, gang.metadata.name)
        pauses = Backoff(0.1, LONGEST_PAUSE)
        while True:
            try:
                found = await self._writer.get(path, Gang)
            except NotFound:
                return Written(False, None)
            except (Unavailable, TooManyRequests):
                await asyncio.sleep(pauses.next_delay())
            else:
                is_ours = found.metadata.uid == gang.metadata.uid and found.status == status
                return Written(is_ours, found)


def mint_id() -> str:
    """16 base32 characters: 80 random bits, one per incarnation."""
    return b32encode(secrets.token_bytes(10)).decode().lower()


def _status_body(gang: Gang, status: GangStatus) -> dict[str, Any]:
    metadata = gang.metadata
    return {
        "apiVersion": API_VERSION,
        "kind": "Gang",
        "metadata": {
            "name": metadata.name,
            "namespace": metadata.namespace,
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
        },
        "spec": _spec_body(gang),
        "status": {"phase": status.phase, "epoch": status.epoch, **msgspec.to_builtins(status)},
    }


def _spec_body(gang: Gang) -> dict[str, Any]:
    spec = gang.spec
    return {**msgspec.to_builtins(spec), "id": spec.id, "members": spec.members, "minMembers": spec.min_members}


def _new_body(first: Member) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "id": mint_id(),
        "members": first.size,
        "minMembers": first.minimum,
        "priority": first.priority,
        "queue": first.queue,
    }
    if first.owner is not None:
        spec["owner"] = {"kind": first.owner.kind, "name": first.owner.name, "uid": first.owner.uid}
    return {
        "apiVersion": API_VERSION,
        "kind": "Gang",
        "metadata": {"name": gang_object_name(first.label), "namespace": first.namespace},
        "spec": spec,
    }


def _new_job_body(template: JobTemplate) -> dict[str, Any]:
    job = template.job.metadata
    return {
        "apiVersion": API_VERSION,
        "kind": "Gang",
        "metadata": {
            "name": job_gang_name(job.name),
            "namespace": job.namespace,
            "ownerReferences": [owner_reference(template.job)],
        },
        "spec": {
            "id": JOB_PREFIX + mint_id(),
            "members": template.members,
            "minMembers": template.minimum,
            "priority": template.priority,
            "queue": template.job.spec.queue,
            "cluster": template.job.spec.cluster,
            "gpus": template.gpus_each,
            "owner": {"kind": "AIJob", "name": job.name, "uid": job.uid},
        },
    }


def _fence_body(known: PlacementTerm | None, fence: Fence) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": PLACEMENT_TERM}
    if known is not None:
        metadata["resourceVersion"] = known.metadata.resource_version
    spec = {"term": fence.term, "seq": fence.seq}
    return {"apiVersion": API_VERSION, "kind": "PlacementTerm", "metadata": metadata, "spec": spec}
