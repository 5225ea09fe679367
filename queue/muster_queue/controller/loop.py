"""The leader's loop in five verbs: snapshot, plan, reserve, release, report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from muster_api.gangs import Fence, PlacementTerm
from muster_kube.failpoints import hit
from muster_planner.planning import plan
from muster_planner.policy import Policy
from muster_planner.request import GangRequest
from muster_planner.reservation import Plan
from muster_queue.controller.attention import Attention
from muster_queue.controller.backlog import Backlog, Owner, Target, owner_of
from muster_queue.controller.deciding import decide_unmanaged, decide_unmanaged_single
from muster_queue.controller.groups import GroupKey
from muster_queue.controller.leader_time import LeaderTime
from muster_queue.controller.looking import Fitness, GroupLook, Looker, SingleLook
from muster_queue.controller.members import Stage
from muster_queue.controller.performing import Hands, Performer
from muster_queue.controller.poison import find_poisoned
from muster_queue.controller.reserving import Reserver
from muster_queue.controller.steps import takes_down
from muster_queue.controller.tallies import Tallier, limits_now
from muster_queue.controller.telling import Teller
from muster_queue.controller.timing import Patience
from muster_queue.controller.wishing import wishes_of_group, wishes_of_single
from muster_queue.controller.workers import Workers

TALLY_INTERVAL: Final = 1.0

Beside = Callable[[], Coroutine[Any, Any, None]]
"""What else is done as long as somebody leads, and decides nothing about gangs."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator has chosen for planning and waiting."""

    patience: Patience
    policy: Policy
    plan_interval: float
    is_fresh: Callable[[], bool]
    """Whether the caches are young enough to plan on."""
    is_current: Callable[[], bool] = lambda: True
    """Whether they are young enough to take something down for what they do not show."""


@dataclass(slots=True)
class Looks:
    """What one snapshot found to look at."""

    groups: list[GroupLook] = field(default_factory=list)
    singles: list[SingleLook] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A plan, and what each of its uids stands for."""

    plan: Plan
    targets: dict[str, Target]


class Leader:
    """One term in office; everything that it remembers ends with it."""

    def __init__(self, hands: Hands, rules: Rules, fence: PlacementTerm, beside: Sequence[Beside] = ()) -> None:
        self._hands = hands
        self._rules = rules
        self._beside = beside
        self._fence = fence
        self._attention = Attention(hands.world, hands.clock)
        self._looker = Looker(hands.world, hands.clock, rules.patience, fence.spec.term)
        self._backlog = Backlog()
        self._workers = Workers(self._attention, hands.metrics)
        self._performer = Performer(hands, fence.spec.term)
        self._reserver = Reserver(hands.world, self._backlog, self._workers, self._performer, hands.metrics)
        self._teller = Teller(hands, self._attention, self._workers, self._performer)
        self._tallier = Tallier(hands.world, hands.pods)
        self._leader_time = LeaderTime(hands.metrics.leader_time)
        self._next_plan = 0.0
        self._was_blind = False

    async def run(self) -> None:
        """Until cancelled, or until another leader turns out to have taken over."""
        self._attention.listen()
        async with asyncio.TaskGroup() as tasks:
            self._workers.work_in(tasks)
            tasks.create_task(self._tally())
            for other in self._beside:
                tasks.create_task(other())
            while True:
                await self._attention.wait()
                looks = self.snapshot()
                proposal = self.plan()
                await self.reserve(proposal)
                self.release(looks)
                self.report(looks, proposal)

    async def _tally(self) -> None:
        """Queues and clusters hear of their jobs once a second at most."""
        while True:
            await asyncio.sleep(TALLY_INTERVAL)
            await self._tallier.write_all()

    def snapshot(self) -> Looks:
        """Look at all that has changed: what each gang needs next, and who waits for a place."""
        looks = Looks()
        with self._stage("snapshot"):
            self._notice_blindness()
            due = [owner for owner in self._attention.take_due() if not self._workers.is_busy(owner)]
            if not due:
                return looks
            fitness = self._looker.fitness()
            for owner in due:
                with self._workers.containing(owner):
                    self._look(owner, looks, fitness)
        return looks

    def plan(self) -> Proposal | None:
        """Place what waits, if anything has changed that could let it fit or say why not."""
        now = self._hands.clock.monotonic()
        if not self._is_plan_due(now):
            return None
        if not self._rules.is_fresh():
            self._hands.metrics.stale_cycles.inc()
            self._attention.plan_at = now + 1.0
            return None
        with self._stage("plan"):
            made = self._plan_or_set_aside(now)
        took = self._hands.clock.monotonic() - now
        self._leader_time.planned(self._backlog.owners(), took)
        self._next_plan = now + took + max(self._rules.plan_interval, 2 * took)
        if made is None:
            self._attention.plan_at = self._next_plan
            return None
        self._attention.plan_at = made.retry_at
        return Proposal(made, self._backlog.targets())

    async def reserve(self, proposal: Proposal | None) -> None:
        """Raise the fence, then take the room and write it down."""
        if proposal is None or not proposal.plan.reservations:
            return
        with self._stage("reserve"):
            await self._raise_fence()
            self._reserver.start_all(proposal.plan.reservations, proposal.targets, self._fence.spec)

    def release(self, looks: Looks) -> None:
        """Start the next step of every gang that has one: tickets, aborts, evictions, ends."""
        with self._stage("release"):
            for look in looks.groups:
                self._start_step(look)
            for single in looks.singles:
                if single.decision.renew_on:
                    self._reserver.start_single(single.member, single.decision.renew_on, self._fence.spec)

    def report(self, looks: Looks, proposal: Proposal | None) -> None:
        """Say why what waits waits."""
        with self._stage("report"):
            if proposal is not None:
                self._teller.explain(proposal.plan.explanations, proposal.targets)
            for look in looks.groups:
                with self._workers.containing(look.group.key):
                    self._teller.tell_group(look)
            for single in looks.singles:
                with self._workers.containing(single.member.uid):
                    self._teller.tell_single(single)

    def _start_step(self, look: GroupLook) -> None:
        step, key = look.decision.step, look.group.key
        if step is None or self._workers.is_busy(key):
            return
        if self._was_blind and takes_down(step):
            self._attention.recheck(key, 1.0)
            return
        seen = look.view.gang if look.view is not None else None
        self._workers.start(key, self._performer.perform(look.group, step, seen))

    def _notice_blindness(self) -> None:
        is_blind = not self._rules.is_current()
        if self._was_blind and not is_blind:
            self._looker.restart_clocks(self._hands.clock.monotonic())
        self._was_blind = is_blind

    def _plan_or_set_aside(self, now: float) -> Plan | None:
        """One pod that cannot be planned must not keep all others waiting, and never stop the leader."""
        requests = list(self._backlog.requests())
        limits = limits_now(self._hands.world)

        def attempt(some: Sequence[GangRequest]) -> Plan:
            return plan(self._hands.world.capacity.freeze(), some, self._rules.policy, now, limits)

        try:
            return attempt(requests)
        except Exception:
            targets = self._backlog.targets()
            poisoned = find_poisoned(attempt, requests) or requests
            for owner in {owner_of(targets[request.uid]) for request in poisoned}:
                self._workers.set_aside(owner)
                self._backlog.drop(owner)
            return None

    def _look(self, owner: Owner, looks: Looks, fitness: Fitness) -> None:
        now = self._hands.clock.monotonic()
        if isinstance(owner, tuple):
            self._look_at_group(owner, looks, fitness, now)
        else:
            self._look_at_single(owner, looks, fitness, now)

    def _look_at_group(self, key: GroupKey, looks: Looks, fitness: Fitness, now: float) -> None:
        world = self._hands.world
        group = world.groups.get(key)
        if group is None or (group.gang is None and group.job is None and not world.is_managed(key[0])):
            self._backlog.drop(key)
            if group is None:
                self._looker.forget_group(key)
                self._teller.forget_group(key)
                self._attention.forget(key)
                self._leader_time.forget(key)
            return
        look = self._looker.look_at_group(group, fitness, now)
        took = self._hands.clock.monotonic() - now
        self._attention.looked(key, took)
        self._leader_time.looked(group, took)
        is_managed = world.is_managed(key[0])
        if not is_managed:
            look = replace(look, decision=decide_unmanaged(look.decision, look.view))
        is_planned = is_managed and look.decision.step is None
        self._backlog.wish(key, wishes_of_group(look, world.shapes, self._looker.lesson) if is_planned else ())
        looks.groups.append(look)

    def _look_at_single(self, uid: str, looks: Looks, fitness: Fitness, now: float) -> None:
        world = self._hands.world
        member = world.singles.get(uid)
        if member is None or not member.is_unbound:
            self._backlog.drop(uid)
            self._looker.forget_single(uid)
            self._teller.forget_single(uid)
            self._attention.forget(uid)
            return
        if not world.is_managed(member.namespace):
            self._backlog.drop(uid)
            # A pod that was never ours has nothing to wait for us for.
            if member.stage is Stage.GATED:
                looks.singles.append(SingleLook(member, decide_unmanaged_single(member.namespace)))
            return
        look = self._looker.look_at_single(member, fitness, now)
        self._backlog.wish(uid, wishes_of_single(look, world.shapes))
        looks.singles.append(look)

    def _is_plan_due(self, now: float) -> bool:
        attention = self._attention
        if attention.has_new_nodes:
            attention.has_new_nodes = False
            if self._looker.give_everyone_another_try(now):
                # Their requests carry the old lessons until they are looked at again.
                for owner in self._backlog.owners():
                    attention.recheck(owner, 0.0)
        is_time = attention.plan_at is not None and now >= attention.plan_at
        if not (self._backlog.has_changed or attention.has_new_room or is_time):
            return False
        if len(self._backlog) and now < self._next_plan:
            attention.plan_at = self._next_plan
            return False
        attention.has_new_room = self._backlog.has_changed = False
        attention.plan_at = None
        return len(self._backlog) > 0

    async def _raise_fence(self) -> None:
        spec = self._fence.spec
        self._fence = await self._hands.gangs.raise_fence(self._fence, Fence(term=spec.term, seq=spec.seq + 1))
        self._hands.world.see_fence(self._fence)
        await hit("controller.reserve.fence")

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        started = self._hands.clock.monotonic()
        try:
            yield
        finally:
            self._hands.metrics.stages[name].observe(self._hands.clock.monotonic() - started)
