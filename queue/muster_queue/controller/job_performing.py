"""Carries out the steps of jobs: their gangs, pods, Services and statuses."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from muster_api.gangs import Abort, Gang
from muster_api.jobs import AIJob, AIJobStatus
from muster_api.reasons import Reason
from muster_kube.clock import Clock, rfc3339
from muster_kube.errors import ApiError, Conflict, NotFound
from muster_kube.failpoints import hit
from muster_queue.controller import statuses
from muster_queue.controller.gang_writer import GangWriter
from muster_queue.controller.groups import Group
from muster_queue.controller.job_writer import JobWriter
from muster_queue.controller.metrics import Metrics
from muster_queue.controller.pod_maker import PodMaker
from muster_queue.controller.reporting import Reporter
from muster_queue.controller.statuses import Report
from muster_queue.controller.steps import CreateJobGang, CreatePods, DeleteJob, DeletePods, JobStep, Move, WriteJob
from muster_queue.controller.world import World
from muster_queue.jobs.environment import Run
from muster_queue.jobs.templates import PodPress

log = structlog.get_logger(__name__)

NOT_YET = 0.3
"""Before an older pod of the same name is looked for again."""


@dataclass(frozen=True, slots=True)
class JobHands:
    """What the steps of jobs are carried out with."""

    jobs: JobWriter
    pods: PodMaker


class JobPerformer:
    """One leader's hands for jobs."""

    def __init__(
        self, world: World, gangs: GangWriter, hands: JobHands, reporter: Reporter, metrics: Metrics, clock: Clock
    ) -> None:
        self._world = world
        self._gangs = gangs
        self._hands = hands
        self._reporter = reporter
        self._metrics = metrics
        self._clock = clock

    async def perform(self, group: Group, step: JobStep, seen: Gang | None, term: int) -> Move | None:
        """Does it; what follows for the Gang itself is returned."""
        match step:
            case CreateJobGang():
                await self._create_gang(step)
            case CreatePods():
                return await self._create_pods(group, step, seen, term) if seen is not None else None
            case DeletePods():
                await self._delete_pods(step)
            case WriteJob(job, status):
                await self.write_job(job, status)
            case DeleteJob(job):
                await self._hands.jobs.delete(job)
        return None

    async def write_job(self, job: AIJob, status: AIJobStatus) -> None:
        """Compare-and-swap; where somebody was first, the watch tells and it is decided anew."""
        is_news = (job.status.phase, job.status.reason) != (status.phase, status.reason)
        await hit("controller.jobs.status.before")
        written = await self._hands.jobs.write(job, status)
        await hit("controller.jobs.status.after")
        if written is None:
            return
        self._world.see_job(written)
        if is_news:
            self._reporter.tell_job(written)

    async def _create_gang(self, step: CreateJobGang) -> None:
        await hit("controller.jobs.gang.before")
        gang = await self._gangs.create_for_job(step.template)
        if gang is None:
            await asyncio.sleep(NOT_YET)
            return
        await hit("controller.jobs.gang.after")
        self._world.see_gang(gang)
        topology = step.template.job.spec.gang.topology
        if topology is not None:
            text = f"spec.gang.topology: {topology.value} is not planned for; members go wherever there is room"
            self._reporter.warn_job(step.template.job, Reason.UNSUPPORTED_CONSTRAINT, text)

    async def _create_pods(self, group: Group, step: CreatePods, gang: Gang, term: int) -> Move | None:
        job = step.template.job
        obstacle = await self._hands.pods.make_service(job)
        if obstacle is not None and step.size == 1:
            # Nobody has to find the only member by its name.
            self._reporter.warn_job(job, obstacle.reason, obstacle.text)
        elif obstacle is not None and not obstacle.passes:
            return self._give_up(gang, obstacle.reason, obstacle.text, term)
        elif obstacle is not None:
            await asyncio.sleep(NOT_YET)
            return None
        run = Run(job.metadata.name, gang.spec.id, gang.status.epoch, gang.status.attempt, step.size)
        press = PodPress(step.template, run)
        done = await self._hands.pods.make_all(gang, press, step.slots, lambda slot, uid: group.expect(gang, slot, uid))
        self._metrics.tickets.inc(done.made)
        if done.refusal or done.taken:
            taken = f"a pod that is not Muster's has the name {done.taken}; delete it, or give the job another name"
            return self._give_up(
                gang, Reason.INVALID if done.refusal else Reason.NAME_TAKEN, done.refusal or taken, term
            )
        if done.is_complete and step.released is not None:
            return Move(step.released, "released")
        await asyncio.sleep(NOT_YET)
        return None

    def _give_up(self, gang: Gang, reason: Reason, text: str, term: int) -> Move:
        """As long as this stands in the way the gang cannot start: back to the queue, with back-off."""
        log.warning("pods of a job not made", gang=gang.key, error=text)
        abort = Abort(reason=reason, message=text)
        status = statuses.aborted(gang.status, term, abort)
        told = statuses.with_report(status, Report(reason, text), rfc3339(self._clock.now()))
        return Move(told, "abort", abort)

    async def _delete_pods(self, step: DeletePods) -> None:
        async def delete(namespace: str, name: str, uid: str) -> None:
            try:
                await self._hands.pods.delete(namespace, name, uid, is_forced=step.is_forced)
            except (NotFound, Conflict):
                return
            except ApiError as error:
                log.warning("pod not deleted", namespace=namespace, pod=name, error=str(error))

        turns = asyncio.Semaphore(24)

        async def in_turn(namespace: str, name: str, uid: str) -> None:
            async with turns:
                await delete(namespace, name, uid)

        await asyncio.gather(*(in_turn(member.namespace, member.name, member.uid) for member in step.members))
