"""Carries out steps: the thin layer between what was decided and the API server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from muster_api.gangs import Abort, Fence, Gang, GangStatus
from muster_api.phases import GangPhase
from muster_api.plans import Placement
from muster_api.reasons import Reason
from muster_api.tickets import Epoch, Ticket, single_gang
from muster_kube.clock import Clock, rfc3339
from muster_kube.errors import ApiError, Conflict, Forbidden, Invalid, NotFound, TooManyRequests
from muster_kube.failpoints import hit
from muster_kube.tracing import NO_TRACER, Tracer
from muster_kube.writer import Writer
from muster_queue.controller import statuses
from muster_queue.controller.admission import trace_admission
from muster_queue.controller.budgets import read_budgets, why_held_up
from muster_queue.controller.gang_writer import GangWriter, LostFenceError
from muster_queue.controller.groups import Group
from muster_queue.controller.job_performing import JobPerformer
from muster_queue.controller.members import Member, Stage
from muster_queue.controller.metrics import Metrics
from muster_queue.controller.reporting import Reporter
from muster_queue.controller.slots import Assignment
from muster_queue.controller.statuses import Report
from muster_queue.controller.steps import CreateGang, DeleteGang, EvictMembers, JobStep, Move, SendTickets, Step
from muster_queue.controller.ticket_writer import Round, TicketWriter
from muster_queue.controller.world import World
from muster_queue.jobs.lifecycle import next_attempt

log = structlog.get_logger(__name__)

LOGGED: Final = ("abort", "evict", "released")

EVICTION_RETRY = 2.0
"""Before budgets that held an eviction up are asked again."""


@dataclass(frozen=True, slots=True)
class Hands:
    """What steps are carried out with."""

    world: World
    gangs: GangWriter
    tickets: TicketWriter
    pods: Writer
    reporter: Reporter
    metrics: Metrics
    clock: Clock
    jobs: JobPerformer
    tracer: Tracer = NO_TRACER


class Performer:
    """One leader's hands. Steps of one gang never run side by side; those of different gangs do."""

    def __init__(self, hands: Hands, term: int) -> None:
        self._hands = hands
        self._term = term

    async def perform(self, group: Group, step: Step, seen: Gang | None) -> None:
        """Does it, and lets the world know at once what the API server answered.

        `seen` is the Gang that the step was decided on. What has happened to it since, a commit above all, makes the
        compare-and-swap fail: no decision is ever written over a state that it did not know.
        """
        if isinstance(step, CreateGang):
            await self._create(step.first)
        elif isinstance(step, JobStep):
            move = await self._hands.jobs.perform(group, step, seen, self._term)
            if move is not None and seen is not None:
                await self._move(group, seen, move)
        elif isinstance(step, EvictMembers):
            await self._evict(group, step.members)
        elif seen is not None:
            await self._perform_on(group, step, seen)

    async def _perform_on(self, group: Group, step: DeleteGang | Move | SendTickets, gang: Gang) -> None:
        match step:
            case DeleteGang(why):
                await self._delete(gang, why)
            case Move():
                await self._move(group, gang, step)
            case SendTickets():
                await self._send(group, gang, step)

    async def reserve(self, group: Group, gang: Gang, slots: Mapping[int, Placement], fence: Fence) -> None:
        """Writes a plan whose room is taken already; room that the write did not earn is given back."""
        tickets = (member.ticket.epoch for member in group.members.values() if member.ticket is not None)
        epoch = statuses.reservation_epoch(gang.status, tickets, self._term)
        report = Report(Reason.RESERVED, f"{len(slots)} members have a place", len(group.members), gang.status.bound)
        attempt = (gang.status.attempt or next_attempt(group.job.status)) if group.job is not None else 0
        status = statuses.reserved(gang.status, fence, epoch, slots, attempt)
        await hit("controller.reserve.before")
        try:
            await self._write(gang, self._told(status, report))
        finally:
            self._hands.world.reserve_slots(group, {})
        await hit("controller.reserve.after")

    async def grow(self, group: Group, gang: Gang, slots: Mapping[int, Placement], fence: Fence) -> None:
        """Adds slots to a gang that runs; tickets follow only once the fence is known to be still ours."""
        status = statuses.grown(gang.status, fence, {**group.plan, **slots})
        try:
            await self._write(gang, status)
        finally:
            self._hands.world.reserve_slots(group, {})

    async def ticket_single(self, member: Member, node: str, fence: Fence) -> None:
        """The ticket of a single pod is its reservation: it counts under this fence.

        Raises Invalid where somebody else's admission refuses it, so that it is not asked again at once.
        """
        ticket = Ticket(single_gang(member.uid), Epoch(fence.term, fence.seq), 0, node)
        try:
            done = await self._hands.tickets.send_all([(member, ticket)], self._after_ticket)
        finally:
            self._hands.world.move_single(member.uid, None)
        if done.refused is not None:
            text = f"release refused: {done.refusal}"
            self._hands.reporter.tell_pod(member, Report(Reason.INVALID, text))
            raise Invalid(422, "Refused", f"pod {member.name}: {text}")

    async def _create(self, first: Member) -> None:
        try:
            gang = await self._hands.gangs.create(first)
        except (Invalid, Forbidden) as error:
            text = f"no gang can be made for the label {first.label!r}: {error.message}"
            self._hands.reporter.tell_pod(first, Report(Reason.INVALID, text))
            raise
        if gang is not None:
            self._hands.world.see_gang(gang)

    async def _delete(self, gang: Gang, why: str) -> None:
        if await self._hands.gangs.delete(gang):
            log.info("gang deleted", gang=gang.key, why=why)
            self._hands.world.lose_gang(gang)

    async def _move(self, group: Group, gang: Gang, move: Move) -> None:
        if move.kind in ("abort", "evict"):
            await hit(f"controller.{move.kind}.before")
        if move.kind == "released":
            await hit("controller.release.before-released")
        if not await self._write(gang, move.status, is_patient=not move.takes_down):
            return
        if move.kind == "abort":
            await hit("controller.abort.after")
            self._hands.metrics.aborts.labels(move.status.reason).inc()
        if move.kind == "released":
            await hit("controller.release.after-released")
            if group.job is not None:
                trace_admission(self._hands.tracer, group.job, gang)
        if move.kind in LOGGED:
            _log_move(gang, move)
        self._hands.reporter.moved(group)

    async def _send(self, group: Group, gang: Gang, step: SendTickets) -> None:
        if gang.status.phase is GangPhase.RUNNING:
            await self._check_fence()
        epoch = gang.epoch
        tickets = [(sent.member, _ticket(gang, epoch, sent)) for sent in step.assignments]
        done = await self._hands.tickets.send_all(tickets, self._after_ticket)
        if done.refused is not None:
            await self._give_up(group, gang, done)
        elif done.is_complete and step.released is not None:
            await self._move(group, gang, Move(step.released, "released"))
        elif done.gone or done.unknown:
            # The watch is about to tell what happened to them; asking again at once would be the same answer.
            await asyncio.sleep(0.2)

    async def _give_up(self, group: Group, gang: Gang, done: Round) -> None:
        """Somebody else's admission refuses the release of a member: as long as it does, the gang cannot start."""
        assert done.refused is not None
        text = f"the API server refuses to release pod {done.refused.name}: {done.refusal}"
        log.warning("release refused", gang=gang.key, pod=done.refused.name, error=done.refusal)
        if gang.status.phase is GangPhase.RUNNING:
            self._hands.reporter.tell_pod(done.refused, Report(Reason.INVALID, text))
            await asyncio.sleep(1.0)
            return
        status = statuses.aborted(gang.status, self._term, Abort(reason=Reason.INVALID, message=text))
        report = Report(Reason.INVALID, text, gang.status.present, 0)
        await self._move(group, gang, Move(self._told(status, report), "abort"))

    async def _evict(self, group: Group, members: tuple[Member, ...]) -> None:
        held_up = await self._why_held_up(group, members)
        if held_up:
            self._hands.reporter.tell_gang(group, Report(Reason.GANG_BROKEN, held_up), is_warning=True)
        elif all(await asyncio.gather(*(self._evict_one(group, member) for member in members))):
            return
        # Asking again at once would get the same answer.
        await asyncio.sleep(EVICTION_RETRY)

    async def _why_held_up(self, group: Group, members: tuple[Member, ...]) -> str:
        """All or nothing while the gang is whole; once the first has gone the others follow as budgets allow."""
        running = [member for member in group.members.values() if member.stage is Stage.BOUND]
        if not running or any(member.deleting for member in running):
            return ""
        budgets = await read_budgets(self._hands.pods, group.key[0])
        asked = {member.uid for member in members}
        labels = [self._hands.world.labels_of(member.uid) for member in running if member.uid in asked]
        return why_held_up(budgets, labels)

    async def _evict_one(self, group: Group, member: Member) -> bool:
        """Whether the pod is going, or gone."""
        try:
            await self._hands.pods.evict_pod(member.namespace, member.name, member.uid)
        except (NotFound, Conflict):
            return True
        except TooManyRequests as error:
            text = f"the eviction of pod {member.name} is held up: {error.message}"
            self._hands.reporter.tell_gang(group, Report(Reason.GANG_BROKEN, text), is_warning=True)
        except ApiError as error:
            log.warning("pod not evicted", namespace=member.namespace, pod=member.name, error=str(error))
        else:
            return True
        return False

    async def _check_fence(self) -> None:
        """A plan that was written before another leader took over is known to it; one written later is worthless."""
        term = await self._hands.gangs.read_fence()
        if term is None or term.spec.term != self._term:
            raise LostFenceError("another leader has taken over")

    async def _write(self, gang: Gang, status: GangStatus, *, is_patient: bool = True) -> bool:
        written = await self._hands.gangs.move(gang, status, is_patient=is_patient)
        if written.gang is None:
            self._hands.world.lose_gang(gang)
        else:
            self._hands.world.see_gang(written.gang)
        return written.is_ours

    async def _after_ticket(self) -> None:
        self._hands.metrics.tickets.inc()
        await hit("controller.release.ticket")

    def _told(self, status: GangStatus, report: Report) -> GangStatus:
        return statuses.with_report(status, report, rfc3339(self._hands.clock.now()))


def _ticket(gang: Gang, epoch: Epoch, sent: Assignment) -> Ticket:
    return Ticket(gang.spec.id, epoch, sent.slot, sent.node)


def _log_move(gang: Gang, move: Move) -> None:
    owner, status = gang.spec.owner, move.status
    job = {"job": owner.name} if owner is not None and owner.kind == "AIJob" else {}
    log.info(move.kind, gang=gang.key, **job, epoch=status.epoch, phase=status.phase, reason=status.reason)
