"""Bind calls that are waiting for their gang: runs the barriers and does what they ask for."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from muster_api.phases import GangPhase
from muster_api.tickets import Epoch
from muster_extender.barrier import Abort, Action, Answer, Barrier, BarrierRules, Bind, Call, Commit, GangFacts, Outcome
from muster_extender.committing import GangCommitter
from muster_extender.gangs import GangRecord
from muster_extender.metrics import Metrics
from muster_extender.routing import Park
from muster_extender.state import ClusterState
from muster_kube import failpoints
from muster_kube.clock import Clock

log = structlog.get_logger(__name__)

TICK_SECONDS: Final = 0.1
STOPPING: Final = "the extender is stopping"
CALL_CLOSED: Final = "the scheduler has closed this call"


class HeldCall:
    """One bind call from its arrival to its answer."""

    __slots__ = ("expires", "is_open", "on_close")

    def __init__(self, expires: float) -> None:
        self.expires = expires
        self.is_open = True
        self.on_close: Callable[[], None] | None = None

    def close(self) -> None:
        """Its socket is gone: no answer will be read and no binding may be posted for it."""
        self.is_open = False
        if self.on_close is not None:
            self.on_close()


class _Waiting(msgspec.Struct, gc=False):
    barrier: Barrier
    gang: str
    uid: str
    verdict: asyncio.Future[str]


class HeldCalls:
    """The barriers of all gangs, by gang id."""

    def __init__(
        self,
        state: ClusterState,
        committer: GangCommitter,
        rules: BarrierRules,
        clock: Clock,
        metrics: Metrics,
        *,
        bind_rate: Callable[[], float],
        is_fresh: Callable[[], bool],
    ) -> None:
        self._state = state
        self._committer = committer
        self._rules = rules
        self._clock = clock
        self._metrics = metrics
        self._bind_rate = bind_rate
        self._is_fresh = is_fresh
        self._barriers: dict[str, tuple[Epoch, Barrier]] = {}
        self._waiting: dict[int, _Waiting] = {}
        self._newest_call: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self._is_stopping = False
        self._writes: set[asyncio.Task[None]] = set()
        state.pod_gone = self._pod_gone
        state.gang_changed = self._gang_changed
        metrics.parked.set_function(lambda: len(self._waiting))

    async def park(self, park: Park, call: HeldCall) -> str:
        """Waits for the gang; the empty string when the pod may be bound, else the error to answer."""
        gang, ticket, uid = park.slot.gang, park.slot.ticket, park.record.uid
        number = next(self._numbers)
        barrier = self._barrier_for(gang)
        waiting = _Waiting(barrier, gang.id, uid, asyncio.get_running_loop().create_future())
        self._waiting[number] = waiting
        self._newest_call[uid] = number
        call.on_close = lambda: self._leave(number)
        arrived = Call(number, uid, ticket.slot, ticket.node, call.expires)
        actions = barrier.arrive(arrived, self._clock.monotonic())
        await failpoints.hit("extender.park")
        self._act(gang.id, barrier, actions)
        return await waiting.verdict

    async def run(self) -> None:
        """Lets time pass for the barriers."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            for gang_id in list(self._barriers):
                self._gang_changed(gang_id)

    async def drain(self) -> None:
        """Answers everything that waits, after the writes under way; nothing new begins."""
        self._is_stopping = True
        await asyncio.gather(*self._writes, return_exceptions=True)
        for number in list(self._waiting):
            self._answer(number, STOPPING)

    def _barrier_for(self, gang: GangRecord) -> Barrier:
        known = self._barriers.get(gang.id)
        if known is not None and known[0] == gang.epoch:
            return known[1]
        if known is not None:
            self._act(gang.id, known[1], known[1].observe(None, self._clock.monotonic()))
        barrier = Barrier(self._rules, self._facts(gang), is_usable=self._state.is_usable, bind_rate=self._bind_rate)
        self._barriers[gang.id] = (gang.epoch, barrier)
        return barrier

    def _facts(self, gang: GangRecord) -> GangFacts:
        is_released = gang.phase is GangPhase.RELEASED and gang.is_covered(self._state.fence)
        may_commit = is_released and not self._is_stopping and self._is_fresh()
        return GangFacts(gang.phase, may_commit, gang.gang.spec.min_members, gang.placements)

    def _gang_changed(self, gang_id: str) -> None:
        """Looks at the Gang again, because it has changed or because time has passed."""
        known = self._barriers.get(gang_id)
        if known is None:
            return
        epoch, barrier = known
        gang = self._state.gangs.get(gang_id)
        facts = self._facts(gang) if gang is not None and gang.epoch == epoch else None
        self._act(gang_id, barrier, barrier.observe(facts, self._clock.monotonic()))
        if barrier.is_idle:
            # One that is open is made anew for late members, which then wait for our cache to say so.
            del self._barriers[gang_id]

    def _pod_gone(self, uid: str) -> None:
        waiting = self._waiting.get(self._newest_call.get(uid, 0))
        if waiting is not None:
            self._act(waiting.gang, waiting.barrier, waiting.barrier.lose(uid, self._clock.monotonic()))

    def _leave(self, number: int) -> None:
        waiting = self._waiting.get(number)
        if waiting is not None:
            waiting.barrier.leave(waiting.uid, number)
            self._answer(number, CALL_CLOSED)

    def _act(self, gang_id: str, barrier: Barrier, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Answer(call, message):
                    self._answer(call, message)
                case Bind(call):
                    self._answer(call, "")
                case Commit() | Abort():
                    # The Gang as it is at the decision: what is written over a later one would undo that.
                    gang = self._state.gangs.get(gang_id)
                    task = asyncio.create_task(self._write(gang_id, gang, barrier, action))
                    self._writes.add(task)
                    task.add_done_callback(self._writes.discard)

    def _answer(self, number: int, message: str) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is None:
            return
        if self._newest_call.get(waiting.uid) == number:
            del self._newest_call[waiting.uid]
        waiting.verdict.set_result(message)

    async def _write(self, gang_id: str, gang: GangRecord | None, barrier: Barrier, action: Commit | Abort) -> None:
        """Does a write that a barrier asked for and tells it how that ended."""
        outcome = Outcome.NOT_WRITTEN
        try:
            outcome = await self._swap(gang, barrier, action)
        except Exception:
            log.exception("gang write failed", gang=gang_id)
        self._count(gang_id, action, outcome)
        self._act(gang_id, barrier, barrier.settle(outcome, self._clock.monotonic()))
        self._gang_changed(gang_id)

    async def _swap(self, gang: GangRecord | None, barrier: Barrier, action: Commit | Abort) -> Outcome:
        known = self._barriers.get(gang.id) if gang is not None else None
        if gang is None or known is None or known[1] is not barrier or known[0] != gang.epoch:
            return Outcome.GANG_GONE
        if gang.phase is not GangPhase.RELEASED:
            # The barrier hears of it by its next look at the Gang.
            return Outcome.NOT_WRITTEN
        if isinstance(action, Commit):
            return await self._committer.commit(gang, action.parked)
        return await self._committer.abort(gang, action)

    def _count(self, gang_id: str, action: Commit | Abort, outcome: Outcome) -> None:
        name = "commit" if isinstance(action, Commit) else "abort"
        log.info(name, gang=gang_id, outcome=outcome, action=msgspec.structs.asdict(action))
        if outcome is not Outcome.WRITTEN:
            return
        if isinstance(action, Commit):
            self._metrics.commits.inc()
        else:
            self._metrics.aborts.labels(action.reason).inc()
