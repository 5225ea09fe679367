"""Releases pods: one patch each that takes our gate off and writes the ticket, many at once and never too many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import msgspec

from muster_api.names import GATE, RELEASE_ANNOTATION
from muster_api.objects import Pod
from muster_api.tickets import Ticket, sign
from muster_kube.errors import ApiError, Conflict, Forbidden, Invalid, NotFound, TooManyRequests, Unavailable
from muster_kube.resources import PODS
from muster_kube.writer import Writer
from muster_queue.controller.gang_writer import LostFenceError
from muster_queue.controller.members import Member, Stage

TRIES: Final = 5
WORKERS: Final = 32
"""Of one gang at once, so that a large one leaves room for the others."""
FIRST_PAUSE: Final = 0.1

_pod = msgspec.json.Decoder(Pod).decode
_text = msgspec.json.encode

AfterTicket = Callable[[], Awaitable[None]]


class Outcome(Enum):
    """What became of one ticket."""

    SENT = "sent"
    GONE = "gone"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Round:
    """The outcomes of sending several tickets."""

    sent: int = 0
    gone: list[Member] = field(default_factory=list)
    unknown: int = 0
    refused: Member | None = None
    refusal: str = ""

    @property
    def is_complete(self) -> bool:
        return not self.gone and not self.unknown and self.refused is None


async def nothing_after_ticket() -> None:
    """For tickets that no failpoint is about."""


class TicketWriter:
    """`key` is asked at each ticket, so that a rotated key is used at once; `seen` hears each patched pod."""

    def __init__(
        self,
        writer: Writer,
        key: Callable[[], bytes],
        seen: Callable[[Pod], None],
        may_write: Callable[[], bool],
        *,
        at_once: int = 24,
    ) -> None:
        self._writer = writer
        self._key = key
        self._seen = seen
        self._may_write = may_write
        self._slots = asyncio.Semaphore(at_once)

    async def send_all(
        self, tickets: Iterable[tuple[Member, Ticket]], after_each: AfterTicket = nothing_after_ticket
    ) -> Round:
        """Sends them side by side; one that fails does not stop the others. Raises LostFenceError as such."""
        try:
            return await self._send_side_by_side(tickets, after_each)
        except ExceptionGroup as failures:
            if failures.subgroup(LostFenceError) is not None:
                raise LostFenceError("not leading any more") from failures
            raise

    async def _send_side_by_side(self, tickets: Iterable[tuple[Member, Ticket]], after_each: AfterTicket) -> Round:
        done = Round()
        waiting = iter(tickets)

        async def work() -> None:
            for member, ticket in waiting:
                async with self._slots:
                    outcome, message = await self._send(member, ticket)
                _count(done, member, outcome, message)
                if outcome is Outcome.SENT:
                    await after_each()

        async with asyncio.TaskGroup() as workers:
            for _ in range(WORKERS):
                workers.create_task(work())
        return done

    async def _send(self, member: Member, ticket: Ticket) -> tuple[Outcome, str]:
        path = PODS.object_path(member.namespace, member.name)
        body = patch_body(member, sign(self._key(), member.namespace, ticket))
        pause = FIRST_PAUSE
        message = ""
        for _ in range(TRIES):
            if not self._may_write():
                # A process that was stopped for a while may wake up here, long after its lease.
                raise LostFenceError("not leading any more")
            try:
                self._seen(_pod(await self._writer.patch_strategic(path, body)))
                return Outcome.SENT, ""
            except (NotFound, Conflict) as error:
                return Outcome.GONE, str(error)
            except (Invalid, Forbidden) as error:
                return Outcome.REFUSED, error.message or str(error)
            except (Unavailable, TooManyRequests) as error:
                # The same patch twice is the same as once, so an unknown outcome is tried again like a failure.
                message = str(error)
                await asyncio.sleep(max(pause, error.retry_after if isinstance(error, TooManyRequests) else 0.0))
                pause *= 2
            except ApiError as error:
                return Outcome.REFUSED, str(error)
        return Outcome.UNKNOWN, message


def patch_body(member: Member, ticket: str) -> bytes:
    """Gate off and ticket on, for exactly this pod; written by hand, since there are thousands of them."""
    gates = b""
    if member.stage is Stage.GATED:
        gates = b',"spec":{"schedulingGates":[{"$patch":"delete","name":' + _text(GATE) + b"}]}"
    return (
        b'{"metadata":{"uid":%b,"annotations":{%b:%b}}' % (_text(member.uid), _text(RELEASE_ANNOTATION), _text(ticket))
        + gates
        + b"}"
    )


def _count(done: Round, member: Member, outcome: Outcome, message: str) -> None:
    match outcome:
        case Outcome.SENT:
            done.sent += 1
        case Outcome.GONE:
            done.gone.append(member)
        case Outcome.UNKNOWN:
            done.unknown += 1
        case Outcome.REFUSED:
            done.refused, done.refusal = member, message
