"""Publishes the addresses of jobs' members: compares what is there with what should be, and writes the difference.

It decides nothing about gangs. Whatever it missed, was refused or lost to somebody else shows in the next comparison.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from muster_api.jobs import AIJob
from muster_api.names import JOB_GANG_PREFIX
from muster_api.objects import EndpointSlice
from muster_api.reasons import Reason
from muster_kube.backoff import Backoff
from muster_kube.clock import Clock
from muster_kube.errors import ApiError, Invalid, TooManyRequests
from muster_queue.controller.agenda import Agenda
from muster_queue.controller.groups import Group, GroupKey
from muster_queue.controller.members import Member
from muster_queue.controller.metrics import Metrics
from muster_queue.controller.published import Published
from muster_queue.controller.reporting import Reporter
from muster_queue.controller.slice_writer import ForeignSlice, SliceWriter
from muster_queue.controller.world import World
from muster_queue.jobs.endpoints import Change, MemberAddress, changes, slices_of

log = structlog.get_logger(__name__)

SPACING: Final = 0.05
"""Between two looks at one job while its members get their addresses."""
PATIENCE: Final = 1.0
"""For the other members of a gang, and between two writes for one job."""
BREATH: Final = 0.005
IDLE: Final = 60.0
AFTER_POISON: Final = 10.0
FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 30.0

Slices = Mapping[str, EndpointSlice]


@dataclass(slots=True)
class Progress:
    """How publishing one job's addresses has gone in this term."""

    whole: str = ""
    """The try of its gang that was published with all its members."""
    since: float | None = None
    """When a difference was first seen that can wait."""
    not_before: float = 0.0
    refused: Slices | None = None
    """What the API server does not take: not tried again until something else is wanted."""
    pauses: Backoff = field(default_factory=lambda: Backoff(FIRST_PAUSE, LONGEST_PAUSE))


@dataclass(frozen=True, slots=True)
class Goal:
    """What should be published for a job; `whole` names the try of its gang once all members have an address."""

    job: AIJob | None
    slices: Slices
    whole: str = ""


@dataclass(frozen=True, slots=True)
class Errand:
    """The writes that one job needs."""

    key: GroupKey
    goal: Goal
    changes: tuple[Change, ...]


class EndpointPublisher:
    """One term in office; everything that it remembers ends with it."""

    def __init__(
        self,
        world: World,
        published: Published,
        writer: SliceWriter,
        may_write: Callable[[], bool],
        reporter: Reporter,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._world = world
        self._published = published
        self._writer = writer
        self._may_write = may_write
        self._reporter = reporter
        self._metrics = metrics
        self._clock = clock
        self._agenda: Agenda[GroupKey] = Agenda()
        self._progress: dict[GroupKey, Progress] = {}
        self._busy: set[GroupKey] = set()
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        self.listen()
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    for errand in self.take_errands():
                        tasks.create_task(self.carry_out(errand))
                    await self._wait()
        finally:
            self._world.address_changed = self._published.heard = lambda key: None

    def listen(self) -> None:
        """Hear of every change from now on, and look at everything once."""
        self._world.address_changed = self._published.heard = self.mark
        for key in (*self._world.groups, *self._published.jobs()):
            self.mark(key)

    def mark(self, key: GroupKey) -> None:
        """Something about this job may have to be written."""
        if not key[1].startswith(JOB_GANG_PREFIX):
            return
        if self._agenda.mark(key, self._clock.monotonic(), SPACING):
            self._news.set()

    def take_errands(self) -> list[Errand]:
        """What is to be written now; each has to be carried out."""
        now = self._clock.monotonic()
        errands: list[Errand] = []
        for key in self._agenda.take_due(now):
            if key in self._busy:
                continue  # looked at again once that is written
            try:
                errand = self._look(key, now)
            except Exception:
                self._set_aside(key)
                continue
            if errand is not None:
                self._busy.add(key)
                errands.append(errand)
        return errands

    async def carry_out(self, errand: Errand) -> None:
        """Writes all that differs; what cannot be written now is tried again from fresh state, later and later."""
        progress = self._progress[errand.key]
        progress.since = None
        pause = 0.0
        try:
            for change in errand.changes:
                await self._write(errand.goal, change, progress)
        except ApiError as error:
            pause = progress.pauses.next_delay(error.retry_after if isinstance(error, TooManyRequests) else 0.0)
            log.warning("endpoints not published yet", job=errand.key, error=str(error), pause=round(pause, 1))
        except Exception:
            self._set_aside(errand.key)
            pause = AFTER_POISON
        else:
            progress.whole = errand.goal.whole or progress.whole
            if progress.refused is None:
                progress.pauses.reset()
        finally:
            self._busy.discard(errand.key)
        progress.not_before = self._clock.monotonic() + pause
        self.mark(errand.key)

    # -- what to do -----------------------------------------------------------------------------------------------

    def _look(self, key: GroupKey, now: float) -> Errand | None:
        if not self._may_write():
            self._again_at(key, now + PATIENCE)
            return None
        group = self._world.groups.get(key)
        due = self._due(key)
        if group is not None and now < due and _is_surely_partial(group):
            self._again_at(key, due)
            return None
        actual = self._published.slices(key)
        goal = self._goal(group, actual)
        wanted = tuple(changes(goal.slices, actual))
        if not wanted:
            self._settled(key, goal, is_over=group is None)
            return None
        progress = self._progress.setdefault(key, Progress())
        if progress.refused is not None and progress.refused == goal.slices:
            return None
        progress.refused = None
        moment = max(progress.not_before, self._moment(progress, goal, now))
        if moment > now:
            self._again_at(key, moment)
            return None
        return Errand(key, goal, wanted)

    def _due(self, key: GroupKey) -> float:
        """When a difference that can wait is written."""
        progress = self._progress.get(key)
        return 0.0 if progress is None or progress.since is None else progress.since + PATIENCE

    def _moment(self, progress: Progress, goal: Goal, now: float) -> float:
        """When to write: at once for the first time that a gang is whole and where nobody is left, else soon."""
        if not goal.slices or (goal.whole and goal.whole != progress.whole):
            return now
        progress.since = now if progress.since is None else progress.since
        return progress.since + PATIENCE

    def _goal(self, group: Group | None, actual: Slices) -> Goal:
        if group is None or group.gang is None:
            return Goal(None, {})
        spec, epoch = group.gang.spec, group.gang.status.epoch
        members = [
            _address(member, member.ticket.slot)
            for member in group.members.values()
            if member.reachable_at
            and member.ticket is not None
            and member.state is not None
            and member.holds(spec.id, epoch)
        ]
        job = group.job
        if job is None:
            # What was orphaned with its pods serves them until they end.
            return Goal(None, actual if members else {})
        if not self._published.is_ours_to_fill(job):
            return Goal(job, {})
        is_whole = bool(group.plan) and group.plan.keys() <= {member.ordinal for member in members}
        return Goal(job, slices_of(job, members), f"{spec.id}/{epoch}" if is_whole else "")

    def _settled(self, key: GroupKey, goal: Goal, *, is_over: bool) -> None:
        """All is as it should be, whoever has written it."""
        if is_over:
            self._progress.pop(key, None)
            self._agenda.forget(key)
            return
        progress = self._progress.get(key)
        if progress is None and goal.whole:
            progress = self._progress.setdefault(key, Progress())
        if progress is not None:
            progress.since = None
            progress.whole = goal.whole or progress.whole

    def _again_at(self, key: GroupKey, moment: float) -> None:
        if self._agenda.mark_at(key, moment):
            self._news.set()

    def _set_aside(self, key: GroupKey) -> None:
        log.exception("endpoints of a job cannot be handled and are left aside for now", job=key)
        self._metrics.object_errors.inc()
        self._again_at(key, self._clock.monotonic() + AFTER_POISON)

    async def _wait(self) -> None:
        """Until something is due; what changes together is looked at together."""
        await asyncio.sleep(BREATH)
        while (delay := self._delay()) > 0:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._news.wait()

    def _delay(self) -> float:
        due = self._agenda.next_due()
        return IDLE if due is None else due - self._clock.monotonic()

    # -- writes ---------------------------------------------------------------------------------------------------

    async def _write(self, goal: Goal, change: Change, progress: Progress) -> None:
        """What is refused for good is told once, and the job's other slices are written all the same."""
        name = change.slice.metadata.name
        try:
            await self._writer.write(goal.job, change)
        except Invalid as error:
            progress.refused = goal.slices
            self._tell(goal.job, Reason.INVALID, f"the API server refuses EndpointSlice {name}: {error.message}")
        except ForeignSlice as error:
            self._tell(goal.job, Reason.NAME_TAKEN, error.message)
            raise
        else:
            self._metrics.slice_writes.labels(change.deed.value).inc()

    def _tell(self, job: AIJob | None, reason: Reason, text: str) -> None:
        log.warning("endpoint slice not written", job=job.metadata.name if job is not None else "", error=text)
        self._metrics.object_errors.inc()
        if job is not None:
            self._reporter.warn_job(job, reason, text)


def _is_surely_partial(group: Group) -> bool:
    """Whether some of its members lack an address, and not all: told without a look at each slice of a large gang."""
    reachable = sum(1 for member in group.members.values() if member.reachable_at)
    return 0 < reachable < len(group.plan)


def _address(member: Member, ordinal: int) -> MemberAddress:
    return MemberAddress(
        ordinal=ordinal, pod=member.name, uid=member.uid, node=member.node, address=member.reachable_at
    )
