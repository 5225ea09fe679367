"""Makes the pods of jobs, many at once and never too many; a name that is taken is looked at before anything else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from muster_api.gangs import Gang
from muster_api.jobs import AIJob
from muster_api.names import RELEASE_ANNOTATION
from muster_api.objects import ObjectMeta, Pod
from muster_api.reasons import Reason
from muster_api.tickets import Epoch, Ticket, names_job, sign
from muster_kube.errors import AlreadyExists, ApiError, NotFound, TooManyRequests, Unavailable
from muster_kube.failpoints import hit
from muster_kube.resources import PODS, SERVICES
from muster_kube.writer import Writer
from muster_queue.controller.gang_writer import LostFenceError
from muster_queue.jobs.templates import PodPress, service_body

TRIES: Final = 5
WORKERS: Final = 24
"""Of one job at once, so that a large one leaves room for the others."""
FIRST_PAUSE: Final = 0.1


class Made(msgspec.Struct, frozen=True):
    """What is read of an answer: the rest of it was our own words."""

    metadata: ObjectMeta


_made = msgspec.json.Decoder(Made).decode


@dataclass(slots=True)
class PodRound:
    """How the making of several pods went."""

    made: int = 0
    waiting: int = 0
    """Names that an older pod still has, and outcomes that are not known yet."""
    refusal: str = ""
    taken: str = ""
    """A pod that is not Muster's and has a name that the job needs."""

    @property
    def is_complete(self) -> bool:
        return not self.waiting and not self.refusal and not self.taken


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a job's Service is not there; one that `passes` goes away by itself."""

    reason: Reason
    text: str
    passes: bool = False


Seen = Callable[[int, str], None]
"""Hears slot and uid of each pod that was made."""


class PodMaker:
    """`key` is asked at each ticket, so that a rotated key is used at once."""

    def __init__(
        self, writer: Writer, key: Callable[[], bytes], may_write: Callable[[], bool], *, at_once: int = 24
    ) -> None:
        self._writer = writer
        self._key = key
        self._may_write = may_write
        self._turns = asyncio.Semaphore(at_once)

    async def make_all(self, gang: Gang, press: PodPress, slots: Iterable[tuple[int, str]], seen: Seen) -> PodRound:
        """Makes them side by side; ends early once one is refused. Raises LostFenceError as such."""
        done = PodRound()
        waiting = iter(slots)
        epoch = gang.epoch

        async def work() -> None:
            for slot, node in waiting:
                if done.refusal or done.taken:
                    return
                async with self._turns:
                    await self._make(gang, epoch, press, slot, node, seen, done)

        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(WORKERS):
                    workers.create_task(work())
        except ExceptionGroup as failures:
            if failures.subgroup(LostFenceError) is not None:
                raise LostFenceError("not leading any more") from failures
            raise
        return done

    async def make_service(self, job: AIJob) -> Obstacle | None:
        """The job's headless Service, unless it is there already; what stands in its way if something does."""
        self._check()
        metadata = job.metadata
        try:
            await self._writer.create(SERVICES.in_namespace(metadata.namespace).collection, service_body(job))
        except AlreadyExists:
            return await self._look_at_service(job)
        except (Unavailable, TooManyRequests):
            raise
        except ApiError as error:
            text = f"the API server refuses Service {metadata.name}: {error.message or error}"
            return Obstacle(Reason.INVALID, text)
        return None

    async def _look_at_service(self, job: AIJob) -> Obstacle | None:
        """Whose Service has the name: this job's own, one that is about to go, or somebody else's."""
        metadata = job.metadata
        try:
            found = (await self._writer.get(SERVICES.object_path(metadata.namespace, metadata.name), Made)).metadata
        except NotFound:
            return Obstacle(Reason.NAME_TAKEN, f"Service {metadata.name} is being deleted", passes=True)
        owner = found.controller_owner
        if owner is not None and owner.uid == metadata.uid and found.deletion_timestamp is None:
            return None
        if found.deletion_timestamp is not None or (owner is not None and owner.kind == "AIJob"):
            text = f"Service {metadata.name} of an earlier job of that name is still being deleted"
            return Obstacle(Reason.NAME_TAKEN, text, passes=True)
        whose = "nobody" if owner is None else f"{owner.kind} {owner.name}"
        text = f"Service {metadata.name} belongs to {whose}; delete it, or give the job another name"
        return Obstacle(Reason.NAME_TAKEN, text)

    async def delete(self, namespace: str, name: str, uid: str, *, is_forced: bool) -> None:
        """Deletes exactly this pod; one that is gone, or another of its name, is left alone."""
        self._check()
        await self._writer.delete(PODS.object_path(namespace, name), uid=uid, grace=0 if is_forced else None)

    async def _make(
        self, gang: Gang, epoch: Epoch, press: PodPress, slot: int, node: str, seen: Seen, done: PodRound
    ) -> None:
        namespace = gang.metadata.namespace
        ticket = sign(self._key(), namespace, Ticket(gang.spec.id, epoch, slot, node))
        body = press.body(slot, node, ticket)
        pause = FIRST_PAUSE
        for _ in range(TRIES):
            self._check()
            try:
                answer = await self._writer.create(PODS.in_namespace(namespace).collection, body)
            except AlreadyExists:
                await self._look_at_rival(namespace, press.name(slot), ticket, slot, seen, done)
                return
            except (Unavailable, TooManyRequests) as error:
                # Where it did happen after all, the next try finds the pod with this very ticket.
                await asyncio.sleep(max(pause, error.retry_after if isinstance(error, TooManyRequests) else 0.0))
                pause *= 2
            except ApiError as error:
                done.refusal = f"the API server refuses pod {press.name(slot)}: {error.message or error}"
                return
            else:
                seen(slot, _made(answer).metadata.uid)
                done.made += 1
                await hit("controller.jobs.pod")
                return
        done.waiting += 1

    async def _look_at_rival(
        self, namespace: str, name: str, ticket: str, slot: int, seen: Seen, done: PodRound
    ) -> None:
        """Whose pod has the name: this epoch's own, an older one that has to go first, or somebody else's."""
        try:
            rival = await self._writer.get(PODS.object_path(namespace, name), Pod)
        except ApiError:
            done.waiting += 1
            return
        shown = rival.metadata.annotations.get(RELEASE_ANNOTATION, "")
        if shown == ticket and not rival.is_deleting:
            seen(slot, rival.metadata.uid)
            done.made += 1
        elif names_job(shown):
            done.waiting += 1
        else:
            done.taken = name

    def _check(self) -> None:
        # A process that was stopped for a while may wake up here, long after its lease.
        if not self._may_write():
            raise LostFenceError("not leading any more")
