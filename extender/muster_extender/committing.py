"""Moves a Gang over the commit, or back from the barrier, by one compare-and-swap on its resourceVersion."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import structlog

from muster_api.gangs import Aborts, Gang, PlacementTerm
from muster_api.names import PLACEMENT_TERM
from muster_api.phases import COMMITTED_PHASES, GangPhase
from muster_api.reasons import Reason
from muster_extender.barrier import Abort, Outcome
from muster_extender.gangs import GangRecord
from muster_kube import failpoints
from muster_kube.backoff import Backoff
from muster_kube.clock import Clock, rfc3339
from muster_kube.errors import AmbiguousWrite, ApiError, Conflict, NotFound
from muster_kube.resources import GANGS, PLACEMENT_TERMS
from muster_kube.writer import Writer

log = structlog.get_logger(__name__)


class GangCommitter:
    """The extender's two writes of a Gang's status. What conflicts or stays unknown is settled by reading the Gang."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock

    async def commit(self, gang: GangRecord, parked: int) -> Outcome:
        """Released to Committed: from then on the gang goes forward only."""
        if not await self._is_covered(gang.gang):
            return Outcome.NOT_WRITTEN
        await failpoints.hit("extender.commit.before")
        status = {
            "phase": GangPhase.COMMITTED,
            "committedAt": rfc3339(self._clock.now()),
            "reason": Reason.BINDING,
            "message": f"{parked} of {len(gang.placements)} members at the barrier when it opened",
        }
        outcome = await self._swap(gang.gang, status, committing=True)
        await failpoints.hit("extender.commit.after")
        return outcome

    async def abort(self, gang: GangRecord, abort: Abort) -> Outcome:
        """Released to Pending in the next epoch: every ticket of this one is worthless from then on."""
        await failpoints.hit("extender.abort.before")
        before = gang.gang.status.aborts or Aborts()
        last = {"reason": abort.reason, "node": abort.node, "message": abort.message}
        status = {
            "phase": GangPhase.PENDING,
            "epoch": str(gang.epoch.next()),
            "reservation": None,
            "plan": None,
            "deadline": None,
            "reason": abort.reason,
            "message": abort.message,
            "aborts": {"count": before.count + 1, "last": last},
        }
        outcome = await self._swap(gang.gang, status, committing=False)
        await failpoints.hit("extender.abort.after")
        return outcome

    async def _is_covered(self, gang: Gang) -> bool:
        """Asks the API server for the fence: our watch of it may be behind our watch of the Gang."""
        path = PLACEMENT_TERMS.object_path(None, PLACEMENT_TERM)
        try:
            term = await self._writer.get(path, PlacementTerm)
        except (ApiError, msgspec.DecodeError) as error:
            log.warning("fence cannot be read", error=str(error))
            return False
        return gang.is_covered(term.spec)

    async def _swap(self, gang: Gang, status: dict[str, Any], *, committing: bool) -> Outcome:
        path = GANGS.object_path(gang.metadata.namespace, gang.metadata.name, "status")
        body = {"metadata": {"resourceVersion": gang.metadata.resource_version}, "status": status}
        try:
            await self._writer.patch_merge(path, body)
        except (Conflict, AmbiguousWrite, NotFound) as error:
            log.info("gang write unsettled, reading it", gang=gang.spec.id, error=str(error))
            return _outcome(gang, await self._read_until_known(gang), committing=committing)
        except ApiError as error:
            log.warning("gang not written", gang=gang.spec.id, error=str(error))
            return Outcome.NOT_WRITTEN
        return Outcome.WRITTEN

    async def _read_until_known(self, gang: Gang) -> Gang | None:
        """The Gang as it is now, None when it is gone. Nothing is answered before that is known."""
        path = GANGS.object_path(gang.metadata.namespace, gang.metadata.name)
        backoff = Backoff(first=0.1, longest=2.0)
        while True:
            try:
                return await self._writer.get(path, Gang)
            except NotFound:
                return None
            except ApiError as error:
                log.warning("gang cannot be read", gang=gang.spec.id, error=str(error))
                await asyncio.sleep(backoff.next_delay())


def _outcome(ours: Gang, found: Gang | None, *, committing: bool) -> Outcome:
    """What became of a write, judged by the Gang as it was read after it."""
    if found is None or found.spec.id != ours.spec.id:
        return Outcome.GANG_GONE
    if found.status.epoch != ours.status.epoch:
        return Outcome.GANG_GONE
    if found.status.phase in COMMITTED_PHASES:
        # Ours or another extender's: for the members it is the same.
        return Outcome.WRITTEN if committing else Outcome.NOT_WRITTEN
    return Outcome.NOT_WRITTEN if found.status.phase is GangPhase.RELEASED else Outcome.GANG_GONE
