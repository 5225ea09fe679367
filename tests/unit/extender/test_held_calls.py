"""Held bind calls: what their barriers ask for is done to the Gang as it was at the decision, or not at all."""

from __future__ import annotations

import asyncio

import pytest

from bones.clock import ManualClock
from bones.extender_world import make_gang, make_pod, make_state, make_ticket
from muster_api.phases import GangPhase
from muster_extender.barrier import GANG_MOVED_ON, Abort, BarrierRules, Outcome
from muster_extender.committing import GangCommitter
from muster_extender.gangs import GangRecord
from muster_extender.held_calls import HeldCall, HeldCalls
from muster_extender.metrics import Metrics
from muster_extender.protocol import ExtenderBindingArgs
from muster_extender.routing import Park, decide_bind
from muster_extender.state import ClusterState


class Writes(GangCommitter):
    """Writes nothing and says that it was written."""

    def __init__(self) -> None:
        self.aborted: list[GangRecord] = []
        self.committed: list[GangRecord] = []

    async def commit(self, gang: GangRecord, parked: int) -> Outcome:
        self.committed.append(gang)
        return Outcome.WRITTEN

    async def abort(self, gang: GangRecord, abort: Abort) -> Outcome:
        self.aborted.append(gang)
        return Outcome.WRITTEN


class World:
    """A Released gang of two slots and its bind calls."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.state: ClusterState = make_state()
        self.state.observe_gang(make_gang())
        self.writes = Writes()
        self.held = HeldCalls(
            self.state,
            self.writes,
            BarrierRules(),
            self.clock,
            Metrics(),
            bind_rate=lambda: 100.0,
            is_fresh=lambda: True,
        )

    async def park(self, name: str, slot: int) -> asyncio.Task[str]:
        """A bind call that has reached the barrier, with what was decided there not yet begun."""
        self.state.observe_pod(make_pod(name, ticket=make_ticket(slot)))
        route = decide_bind(ExtenderBindingArgs(name, "team", f"uid-{name}", "n0"), self.state)
        assert isinstance(route, Park)
        call = asyncio.create_task(self.held.park(route, HeldCall(self.clock.monotonic() + 119)))
        await asyncio.sleep(0)
        return call

    def time_out(self) -> None:
        self.clock.advance(31)
        self.state.observe_gang(make_gang())


async def settled(call: asyncio.Task[str]) -> str:
    return await asyncio.wait_for(call, 5)


async def test_an_abort_is_not_written_over_a_commit() -> None:
    world = World()
    call = await world.park("a", 0)
    world.time_out()
    world.state.observe_gang(make_gang(GangPhase.COMMITTED))
    assert await settled(call) == ""
    await world.held.drain()
    assert world.writes.aborted == []


@pytest.mark.parametrize("phase", [GangPhase.EVICTING, GangPhase.PENDING])
async def test_a_commit_is_written_over_the_gang_of_the_decision_only(phase: GangPhase) -> None:
    world = World()
    calls = [await world.park("a", 0), await world.park("b", 1)]
    world.state.observe_gang(make_gang(phase))
    assert [await settled(call) for call in calls] == [""] * 2
    assert [gang.phase for gang in world.writes.committed] == [GangPhase.RELEASED]


async def test_an_abort_answers_all_that_waits() -> None:
    world = World()
    call = await world.park("a", 0)
    world.time_out()
    assert await settled(call) == GANG_MOVED_ON
    assert [gang.phase for gang in world.writes.aborted] == [GangPhase.RELEASED]
