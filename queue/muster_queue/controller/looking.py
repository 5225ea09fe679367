"""Looks at one gang or pod: builds the frozen view, keeps its clocks and lessons, asks for the decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from muster_api.gangs import Abort, Aborts, Gang
from muster_api.phases import HOLDING_PHASES, GangPhase
from muster_api.plans import Placement
from muster_api.reasons import Reason
from muster_kube.clock import Clock, rfc3339
from muster_planner.constraints import eligible
from muster_planner.retry import NOTHING_LEARNT, Lesson, forgive, give_another_try, learn
from muster_planner.snapshot import Mask, Snapshot
from muster_queue.controller.deciding import decide, decide_without_gang
from muster_queue.controller.groups import Group, GroupKey
from muster_queue.controller.job_looking import Glance, JobLook, look_at_job
from muster_queue.controller.members import Member
from muster_queue.controller.roster import call_roll
from muster_queue.controller.singles import SingleDecision, SingleTiming, advance_single, decide_single
from muster_queue.controller.steps import Decision
from muster_queue.controller.timing import Patience, Timing, advance, restarted
from muster_queue.controller.views import GangView, sight
from muster_queue.controller.world import World

UNMADE = Gang()
WATCHED_PHASES = HOLDING_PHASES | {GangPhase.EVICTING}
MOST_LESSONS = 10_000


@dataclass(slots=True)
class Fitness:
    """Whether nodes can take members of a shape now, room aside; one per moment, since it remembers its answers."""

    world: World
    snapshot: Snapshot
    masks: dict[str, Mask] = field(default_factory=dict)

    def problem(self, node: str, shape: str) -> Reason | None:
        """Why this node cannot take a member of this shape; None when it can."""
        known = self.world.nodes.get(node)
        if known is None or not known.is_ready:
            return Reason.NODE_LOST
        if known.spec.unschedulable:
            return Reason.NODE_UNSCHEDULABLE
        row = self.snapshot.nodes.index.get(node)
        asked = self.world.shapes.get(shape)
        if row is None or asked is None:
            return None if asked is None else Reason.NODE_LOST
        mask = self.masks.get(shape)
        if mask is None:
            mask = self.masks[shape] = eligible(self.snapshot, asked.constraints)
        return None if mask[row] else Reason.NODE_UNSCHEDULABLE

    def is_overfull(self, node: str, shape: str) -> bool:
        """Whether more is promised on this node than it has, of anything that the shape asks for."""
        row = self.snapshot.nodes.index.get(node)
        asked = self.world.shapes.get(shape)
        if row is None or asked is None:
            return False
        columns = (self.snapshot.column(resource) for resource in asked.demand)
        return any(column is not None and self.snapshot.free[row, column] < 0 for column in columns)

    def unfit(self, plan: Mapping[int, Placement]) -> dict[Placement, Reason]:
        """The places of a plan that are lost."""
        problems = {place: self.problem(place.node, place.shape) for place in set(plan.values())}
        return {place: reason for place, reason in problems.items() if reason is not None}


@dataclass(frozen=True, slots=True)
class GroupLook:
    """One gang label as seen at one moment, and what follows from it."""

    group: Group
    view: GangView | None
    decision: Decision
    lesson: Lesson = NOTHING_LEARNT
    job: JobLook | None = None


@dataclass(frozen=True, slots=True)
class SingleLook:
    member: Member
    decision: SingleDecision
    lesson: Lesson = NOTHING_LEARNT


class Looker:
    """Keeps what has to be remembered from one look to the next, for one leader's time in office."""

    def __init__(self, world: World, clock: Clock, patience: Patience, term: int) -> None:
        self._world = world
        self._clock = clock
        self._patience = patience
        self._term = term
        self._timings: dict[GroupKey, Timing] = {}
        self._single_timings: dict[str, SingleTiming] = {}
        self._lessons: dict[str, Lesson] = {}
        self._gang_lessons: dict[GroupKey, tuple[str, Lesson]] = {}
        self._taught_by: dict[str, str] = {}

    def fitness(self) -> Fitness:
        return Fitness(self._world, self._world.capacity.freeze())

    def look_at_group(self, group: Group, fitness: Fitness, now: float) -> GroupLook:
        """Raises what a poisoned object makes the vocabulary raise; the caller contains it."""
        if group.is_of_job:
            return self._look_at_job(group, fitness, now)
        if group.gang is None:
            self._timings.pop(group.key, None)
            roster = call_roll(group.members.values(), UNMADE)
            decision = decide_without_gang(roster)
            return GroupLook(group, None, decision)
        view = self._view(group, group.gang, fitness, now)
        decision = decide(view, self._patience, now)
        for uid, abort in decision.lessons.items():
            self.teach(uid, abort, group.members[uid].ticket_text, now)
        return GroupLook(group, view, decision, self._gang_lesson(group.key, group.gang, now))

    def look_at_single(self, member: Member, fitness: Fitness, now: float) -> SingleLook:
        timing = advance_single(self._single_timings.get(member.uid), member, now)
        self._single_timings[member.uid] = timing
        decision = decide_single(member, self._term, timing, fitness.problem, fitness.is_overfull, self._patience, now)
        if decision.lesson is not None:
            self.teach(member.uid, decision.lesson, member.ticket_text, now)
        return SingleLook(member, decision, self.lesson(member.uid))

    def lesson(self, uid: str) -> Lesson:
        return self._lessons.get(uid, NOTHING_LEARNT)

    def teach(self, uid: str, abort: Abort, occasion: str, now: float) -> None:
        """Learn from a place that failed outside a Gang's own aborts, once per occasion."""
        if self._taught_by.get(uid) == occasion:
            return
        if len(self._lessons) > MOST_LESSONS:
            self._lessons = {uid: lesson for uid, lesson in self._lessons.items() if self._world.member(uid)}
            self._taught_by = {uid: text for uid, text in self._taught_by.items() if uid in self._lessons}
        self._taught_by[uid] = occasion
        known = self.lesson(uid)
        self._lessons[uid] = learn(known, Aborts(count=known.seen + 1, last=abort), now)

    def give_everyone_another_try(self, now: float) -> bool:
        """The nodes have changed: what was hopeless may fit; true when that concerns somebody."""
        lessons = {uid: give_another_try(lesson, now) for uid, lesson in self._lessons.items()}
        of_gangs = {key: (uid, give_another_try(lesson, now)) for key, (uid, lesson) in self._gang_lessons.items()}
        changed = lessons != self._lessons or of_gangs != self._gang_lessons
        self._lessons, self._gang_lessons = lessons, of_gangs
        return changed

    def restart_clocks(self, now: float) -> None:
        """The caches were blind for a while: nobody is late for what may have happened unseen."""
        self._timings = {key: restarted(timing, now) for key, timing in self._timings.items()}
        self._single_timings = {
            uid: replace(timing, refused_since=None if timing.refused_since is None else now)
            for uid, timing in self._single_timings.items()
        }

    def forget_group(self, key: GroupKey) -> None:
        self._timings.pop(key, None)
        self._gang_lessons.pop(key, None)

    def forget_single(self, uid: str) -> None:
        self._single_timings.pop(uid, None)
        self._lessons.pop(uid, None)
        self._taught_by.pop(uid, None)

    def _look_at_job(self, group: Group, fitness: Fitness, now: float) -> GroupLook:
        gang = group.gang
        view = self._view(group, gang, fitness, now) if gang is not None else None
        roster = view.roster if view is not None else call_roll(group.members.values(), UNMADE)
        if view is None:
            self._timings.pop(group.key, None)
        glance = Glance(group, view, roster, self._clock.now(), now)
        decision, job = look_at_job(self._world, glance, self._patience)
        lesson = self._gang_lesson(group.key, gang, now) if gang is not None else NOTHING_LEARNT
        return GroupLook(group, view, decision, lesson, job)

    def _view(self, group: Group, gang: Gang, fitness: Fitness, now: float) -> GangView:
        status = gang.status
        unfit = fitness.unfit(group.plan) if status.phase in WATCHED_PHASES else {}
        view = GangView(
            gang=gang,
            roster=call_roll(group.members.values(), gang, group.finished),
            plan=group.plan,
            claims=group.claims,
            awaited=group.awaited,
            unfit=unfit,
            term=self._term,
            time=rfc3339(self._clock.now()),
        )
        timing = advance(self._timings.get(group.key), sight(view), now)
        self._timings[group.key] = timing
        return replace(view, timing=timing)

    def _gang_lesson(self, key: GroupKey, gang: Gang, now: float) -> Lesson:
        uid, known = self._gang_lessons.get(key, ("", NOTHING_LEARNT))
        lesson = learn(known if uid == gang.metadata.uid else NOTHING_LEARNT, gang.status.aborts, now)
        if gang.status.phase is GangPhase.RUNNING:
            lesson = forgive(lesson)
        self._gang_lessons[key] = (gang.metadata.uid, lesson)
        return lesson
