"""Muster's internal objects: the Gang, and the PlacementTerm that fences all reservations at once."""

from __future__ import annotations

from muster_api.objects import Condition, KubernetesStruct, ObjectMeta
from muster_api.phases import COVER_PHASES, GangPhase
from muster_api.plans import Placement, PlanRun, decode_plan
from muster_api.tickets import Epoch, parse_epoch


class Fence(KubernetesStruct, frozen=True, order=True, kw_only=True):
    """A point in the one order of all reservations: the leader's term, then the planning cycle in it."""

    term: int = 0
    seq: int = 0

    def covers(self, reservation: Fence) -> bool:
        """Whether a reservation made at that point still counts while this is the newest one."""
        return reservation.term == self.term and reservation.seq <= self.seq


class PlacementTerm(KubernetesStruct, frozen=True, kw_only=True):
    """The cluster's one fence; compare-and-swapped before each cycle's Gangs and at each change of leader."""

    metadata: ObjectMeta = ObjectMeta()
    spec: Fence = Fence()


class GangOwner(KubernetesStruct, frozen=True, kw_only=True):
    kind: str = ""
    name: str = ""
    uid: str = ""


class GangSpec(KubernetesStruct, frozen=True, kw_only=True):
    id: str = ""
    members: int = 1
    min_members: int = 1
    priority: int = 50
    queue: str = "default"
    cluster: str = ""
    gpus: int = 0
    """Of each member; with `cluster` what a job's gang takes of its limits, whatever becomes of the job."""
    owner: GangOwner | None = None


class Evicting(KubernetesStruct, frozen=True, kw_only=True):
    """Who decided to take the gang down, and in which epoch."""

    by: str = ""
    epoch: str = ""


class Abort(KubernetesStruct, frozen=True, kw_only=True):
    """What made the last reservation fail: it goes back into the next plan."""

    reason: str = ""
    node: str = ""
    message: str = ""


class Aborts(KubernetesStruct, frozen=True, kw_only=True):
    count: int = 0
    last: Abort | None = None


class GangStatus(KubernetesStruct, frozen=True, kw_only=True):
    phase: GangPhase = GangPhase.PENDING
    epoch: str = "0-0"
    reservation: Fence | None = None
    plan: tuple[PlanRun, ...] = ()
    evicting: Evicting | None = None
    deadline: str | None = None
    reason: str = ""
    message: str = ""
    present: int = 0
    bound: int = 0
    aborts: Aborts | None = None
    committed_at: str | None = None
    attempt: int = 0
    """Which attempt of its job this epoch is for, as part of its pods' names; 0 for plain pods."""
    conditions: tuple[Condition, ...] = ()


class Gang(KubernetesStruct, frozen=True, kw_only=True):
    """A group of pods that starts whole or not at all."""

    metadata: ObjectMeta = ObjectMeta()
    spec: GangSpec = GangSpec()
    status: GangStatus = GangStatus()

    @property
    def key(self) -> tuple[str, str]:
        return self.metadata.namespace, self.metadata.name

    @property
    def epoch(self) -> Epoch:
        """The current epoch; raises TicketError when somebody wrote nonsense into the status."""
        return parse_epoch(self.status.epoch)

    def placements(self) -> dict[int, Placement]:
        """Slot to placement, decoded anew at each call; raises PlanError."""
        return decode_plan(self.status.plan)

    def is_covered(self, fence: Fence) -> bool:
        """Whether its reservation counts: always once committed, before that only under the fence."""
        if self.status.phase not in COVER_PHASES:
            return True
        return self.status.reservation is not None and fence.covers(self.status.reservation)
