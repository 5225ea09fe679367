"""Gangs by id, with their epoch and plan decoded once per change instead of once per call."""

from __future__ import annotations

import msgspec

from muster_api.gangs import Fence, Gang
from muster_api.phases import COVER_PHASES, HOLDING_PHASES, GangPhase
from muster_api.plans import Placement, PlanError
from muster_api.tickets import Epoch, TicketError


class GangRecord(msgspec.Struct, frozen=True, gc=False):
    """A Gang whose status can be read."""

    gang: Gang
    epoch: Epoch
    placements: dict[int, Placement]

    @property
    def id(self) -> str:
        return self.gang.spec.id

    @property
    def namespace(self) -> str:
        return self.gang.metadata.namespace

    @property
    def phase(self) -> GangPhase:
        return self.gang.status.phase

    @property
    def shapes(self) -> frozenset[str]:
        """The shapes that its plan names."""
        return frozenset(run.shape for run in self.gang.status.plan if run.shape)

    @property
    def is_holding(self) -> bool:
        """Whether its plan takes room on nodes."""
        return self.phase in HOLDING_PHASES

    def is_covered(self, fence: Fence | None) -> bool:
        """Whether its reservation counts, as far as the fence is known here."""
        return self.phase not in COVER_PHASES or (fence is not None and self.gang.is_covered(fence))

    def has_same_plan(self, other: GangRecord) -> bool:
        return self.epoch == other.epoch and self.gang.status.plan == other.gang.status.plan


def record_of(gang: Gang, old: GangRecord | None = None) -> GangRecord | None:
    """Decodes epoch and plan; None when somebody wrote nonsense into them, which makes all tickets wait."""
    try:
        if old is not None and old.gang.status.plan == gang.status.plan:
            return GangRecord(gang, gang.epoch, old.placements)
        return GangRecord(gang, gang.epoch, gang.placements())
    except (PlanError, TicketError, ValueError):
        return None
