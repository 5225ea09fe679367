"""Turns a plan's reservations into room that is taken at once and writes that follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from muster_api.gangs import Fence
from muster_api.phases import GangPhase
from muster_api.plans import Placement
from muster_planner.reservation import Reservation
from muster_queue.controller import statuses
from muster_queue.controller.backlog import Backlog, GangTarget, GrowthTarget, SingleTarget, Target, slots_of
from muster_queue.controller.groups import GroupKey
from muster_queue.controller.members import Member
from muster_queue.controller.metrics import Metrics
from muster_queue.controller.performing import Performer
from muster_queue.controller.workers import Workers
from muster_queue.controller.world import World


class Reserver:
    """Nothing here waits: the room is taken in memory first, so that the next plan knows of it."""

    def __init__(
        self, world: World, backlog: Backlog, workers: Workers, performer: Performer, metrics: Metrics
    ) -> None:
        self._world = world
        self._backlog = backlog
        self._workers = workers
        self._performer = performer
        self._metrics = metrics

    def start_all(self, reservations: Iterable[Reservation], targets: Mapping[str, Target], fence: Fence) -> None:
        """What has moved on since the plan was made is passed over, and looked at again by itself."""
        growths: dict[GroupKey, list[Reservation]] = {}
        for reservation in reservations:
            match targets.get(reservation.uid):
                case GangTarget(key):
                    with self._workers.containing(key):
                        self._start_gang(key, reservation, fence)
                case GrowthTarget(key, _):
                    growths.setdefault(key, []).append(reservation)
                case SingleTarget(uid):
                    with self._workers.containing(uid):
                        self._start_planned_single(uid, reservation, fence)
        for key, grown in growths.items():
            with self._workers.containing(key):
                self._start_growth(key, grown, fence)

    def start_single(self, member: Member, node: str, fence: Fence) -> None:
        """Writes the ticket that is a single pod's reservation."""
        if self._workers.is_busy(member.uid):
            return
        self._world.move_single(member.uid, node)
        self._metrics.reservations.inc()
        self._workers.start(member.uid, self._performer.ticket_single(member, node, fence))

    def _start_gang(self, key: GroupKey, reservation: Reservation, fence: Fence) -> None:
        group = self._world.groups.get(key)
        gang = group.gang if group is not None else None
        # Dropped even where nothing is begun: the look that follows the busy step wishes again, and that is news.
        self._backlog.drop(key)
        if group is None or gang is None or self._workers.is_busy(key):
            return
        if gang.metadata.uid != reservation.uid or gang.status.phase is not GangPhase.PENDING:
            return
        slots = slots_of(reservation)
        self._world.reserve_slots(group, slots)
        self._metrics.reservations.inc()
        self._workers.start(key, self._performer.reserve(group, gang, slots, fence))

    def _start_growth(self, key: GroupKey, reservations: list[Reservation], fence: Fence) -> None:
        group = self._world.groups.get(key)
        gang = group.gang if group is not None else None
        self._backlog.drop(key)
        if group is None or gang is None or self._workers.is_busy(key) or gang.status.phase is not GangPhase.RUNNING:
            return
        slots: dict[int, Placement] = {}
        first = statuses.next_slot(gang, group.plan, group.claims)
        for reservation in reservations:
            slots |= slots_of(reservation, first + len(slots))
        self._world.reserve_slots(group, slots)
        self._metrics.reservations.inc()
        self._workers.start(key, self._performer.grow(group, gang, slots, fence))

    def _start_planned_single(self, uid: str, reservation: Reservation, fence: Fence) -> None:
        member = self._world.singles.get(uid)
        if member is None or not member.is_unbound:
            return
        self._backlog.drop(uid)
        node = next(node for _, node in reservation.places())
        self.start_single(member, node, fence)
