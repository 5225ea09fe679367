"""The barrier: held bind calls of one gang in one epoch, and when they may go on together. Pure; no I/O, no clock.

WAITING --enough parked--> COMMITTING --written--> OPEN        every call binds
   |                          |  ^------not written-------- back to WAITING
   +--nobody comes--> ABORTING +--gang gone--> CLOSED           every call is answered with an error

While a write is under way nothing is answered: its outcome decides what the answer is. Each call gets exactly one
answer, unless its socket closes before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import msgspec

from muster_api.phases import COMMITTED_PHASES, COVER_PHASES, GangPhase
from muster_api.plans import Placement
from muster_api.reasons import Reason

SUPERSEDED_CALL = "a newer bind call for this pod has replaced this one"
TOO_OLD = "waited as long as the scheduler's timeout allows; the pod comes back and waits on"
POD_GONE = "the pod is gone"
GANG_MOVED_ON = "the gang is not being released in this epoch any more"


class Stage(StrEnum):
    WAITING = "waiting"
    COMMITTING = "committing"
    ABORTING = "aborting"
    OPEN = "open"
    CLOSED = "closed"


class Outcome(StrEnum):
    """How a compare-and-swap of the Gang ended."""

    WRITTEN = "written"
    NOT_WRITTEN = "not written"
    GANG_GONE = "gang gone"


class Call(msgspec.Struct, frozen=True, gc=False):
    """One held bind call."""

    number: int
    uid: str
    slot: int
    node: str
    expires: float
    """When the scheduler may have given up on it, by our own monotonic clock."""


class GangFacts(msgspec.Struct, frozen=True, gc=False):
    """What the barrier needs to know of its Gang."""

    phase: GangPhase
    may_commit: bool
    """Released, covered by the fence, and read from caches that are fresh."""
    min_members: int
    reserved: Mapping[int, Placement]
    """Every slot of the plan."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """End this call with an error."""

    call: int
    message: str


class Bind(msgspec.Struct, frozen=True, gc=False):
    """This call may go on and bind its pod."""

    call: int


class Commit(msgspec.Struct, frozen=True, gc=False):
    """Write Committed by compare-and-swap, then tell the outcome."""

    parked: int


class Abort(msgspec.Struct, frozen=True, gc=False):
    """Write Pending with the next epoch by compare-and-swap, then tell the outcome."""

    reason: Reason
    message: str
    node: str


Action: TypeAlias = Answer | Bind | Commit | Abort


@dataclass(frozen=True, slots=True)
class BarrierRules:
    """Durations in seconds."""

    arrival_timeout: float = 30.0
    """Without an arrival for this long and without a commit, the gang gives its reservation back."""
    grace: float = 1.0
    """How long an elastic gang that has its minimum waits for one more member."""
    slack: float = 5.0
    """Kept free on every socket at commit, beside the time that the bindings take."""
    longest_margin: float = 60.0
    """What is kept free at most: a slow moment must not keep a gang from ever being committed, and what the time does
    not suffice for comes back through the queue after the commit."""
    retry_after: float = 0.2
    """Before another try at a write that did not happen."""


class Barrier:
    """One gang in one epoch. Every method returns what is to be done, in order."""

    def __init__(
        self, rules: BarrierRules, facts: GangFacts, *, is_usable: Callable[[str], bool], bind_rate: Callable[[], float]
    ) -> None:
        self._rules = rules
        self._facts = facts
        self._is_usable = is_usable
        self._bind_rate = bind_rate
        self.stage = Stage.WAITING
        self._parked: dict[str, Call] = {}
        self._lost: set[str] = set()
        # Since when nothing has moved: the last arrival, or the moment from which a commit was possible at all.
        self._quiet_since = 0.0
        self._not_before = 0.0

    @property
    def parked(self) -> int:
        return len(self._parked)

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be lost by forgetting this barrier."""
        return not self._parked and not self.is_writing

    @property
    def is_writing(self) -> bool:
        """Whether a compare-and-swap is under way, whose outcome decides what the answers are."""
        return self.stage in (Stage.COMMITTING, Stage.ABORTING)

    def arrive(self, call: Call, now: float) -> list[Action]:
        """A bind call comes in; a newer one for the same pod takes the older one's place."""
        actions: list[Action] = []
        older = self._parked.pop(call.uid, None)
        if older is not None:
            actions.append(Answer(older.number, SUPERSEDED_CALL))
        self._parked[call.uid] = call
        self._quiet_since = now
        return actions + self._decide(now)

    def leave(self, uid: str, number: int) -> None:
        """Its socket has closed: nobody waits for an answer."""
        call = self._parked.get(uid)
        if call is not None and call.number == number:
            del self._parked[uid]

    def lose(self, uid: str, now: float) -> list[Action]:
        """The pod is deleted, being deleted, or at its end: it cannot be bound and does not count."""
        if uid not in self._parked:
            return []
        if self.is_writing:
            self._lost.add(uid)
            return []
        return [Answer(self._parked.pop(uid).number, POD_GONE), *self._decide(now)]

    def observe(self, facts: GangFacts | None, now: float) -> list[Action]:
        """The Gang as it is now, or time has passed; None when it is gone or in another epoch."""
        if facts is None:
            return [] if self.is_writing else self._close(GANG_MOVED_ON)
        if facts.may_commit and not self._facts.may_commit:
            self._quiet_since = now
        self._facts = facts
        if facts.phase in COMMITTED_PHASES:
            # Written by us or by another extender: either way it is durable.
            self.stage = Stage.OPEN
        elif facts.phase not in COVER_PHASES and not self.is_writing:
            return self._close(GANG_MOVED_ON)
        return self._decide(now)

    def settle(self, outcome: Outcome, now: float) -> list[Action]:
        """A write that was asked for has ended, in one way or another."""
        if not self.is_writing:
            return []
        if outcome is Outcome.NOT_WRITTEN:
            self.stage = Stage.WAITING
            self._not_before = now + self._rules.retry_after
            lost, self._lost = self._lost, set()
            return [Answer(self._parked.pop(uid).number, POD_GONE) for uid in lost if uid in self._parked]
        if outcome is Outcome.WRITTEN and self.stage is Stage.COMMITTING:
            self.stage = Stage.OPEN
            return self._decide(now)
        return self._close(GANG_MOVED_ON)

    def _decide(self, now: float) -> list[Action]:
        match self.stage:
            case Stage.OPEN:
                return self._release()
            case Stage.CLOSED:
                return self._close(GANG_MOVED_ON)
            case Stage.WAITING:
                return self._wait(now)
            case _:
                return []

    def _wait(self, now: float) -> list[Action]:
        actions = self._send_back_the_old(now)
        if not self._parked or not self._facts.may_commit or now < self._not_before:
            return actions
        if self._is_complete(now) and not self._unusable_nodes():
            self.stage = Stage.COMMITTING
            actions.append(Commit(self.parked))
        elif now - self._quiet_since >= self._rules.arrival_timeout:
            self.stage = Stage.ABORTING
            actions.append(self._abort())
        return actions

    def _is_complete(self, now: float) -> bool:
        if self.parked < max(1, self._facts.min_members):
            return False
        return self.parked >= len(self._facts.reserved) or now - self._quiet_since >= self._rules.grace

    def _send_back_the_old(self, now: float) -> list[Action]:
        """Calls without the time left to bind the whole gang come back with a fresh socket; the gang waits on."""
        members = max(len(self._facts.reserved), self.parked)
        needed = min(self._rules.longest_margin, members / self._bind_rate() + self._rules.slack)
        old = []
        for call in self._parked.values():
            if call.expires - now >= needed:
                # In order of arrival, and each has the same time to live.
                break
            old.append(call)
        for call in old:
            del self._parked[call.uid]
        return [Answer(call.number, TOO_OLD) for call in old]

    def _unusable_nodes(self) -> list[str]:
        nodes = {call.node for call in self._parked.values()}
        return sorted(node for node in nodes if not self._is_usable(node))

    def _abort(self) -> Abort:
        unusable = self._unusable_nodes()
        arrived = {call.slot for call in self._parked.values()}
        missing = [self._facts.reserved[slot].node for slot in sorted(self._facts.reserved.keys() - arrived)]
        message = f"{self.parked} of {len(self._facts.reserved)} members at the barrier"
        if unusable:
            return Abort(Reason.BARRIER_TIMEOUT, f"{message}; not ready or cordoned: {unusable[0]}", unusable[0])
        return Abort(Reason.BARRIER_TIMEOUT, message, missing[0] if missing else "")

    def _release(self) -> list[Action]:
        calls = list(self._parked.values())
        self._parked.clear()
        return [Bind(call.number) for call in calls]

    def _close(self, message: str) -> list[Action]:
        self.stage = Stage.CLOSED
        calls = list(self._parked.values())
        self._parked.clear()
        return [Answer(call.number, message) for call in calls]
