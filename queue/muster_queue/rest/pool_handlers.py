"""What warm workers ask, as plain ASGI: they come often, and a lease may be waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from muster_kube.serve import AsgiApp, Receive, Send
from muster_queue.identity.caller import SYSTEM_PREFIX, Caller
from muster_queue.rest.answers import encode
from muster_queue.rest.door import entry_of
from muster_queue.rest.pool_service import (
    AcknowledgeRequest,
    HeartbeatRequest,
    LeaseAnswer,
    LeaseRequest,
    LeasesAnswer,
    PoolName,
    PoolService,
    WorkerIdentity,
)
from muster_queue.rest.requests import understood
from muster_queue.rest.wire import DisconnectedError, Scope, answer, read_body, require_json

LARGEST_ASKING: Final = 256 << 10
LARGEST_ACKNOWLEDGEMENT: Final = 4 << 20
_ACCOUNT: Final = f"{SYSTEM_PREFIX}serviceaccount:"
T = TypeVar("T", bound=msgspec.Struct)


class PoolHandlers:
    """One method for each operation of a pool; the door has asked for the right already."""

    def __init__(self, pools: PoolService) -> None:
        self._pools = pools

    def by_name(self) -> Mapping[str, AsgiApp]:
        return {"lease_jobs": self.lease, "heartbeat_jobs": self.heartbeat, "acknowledge_jobs": self.acknowledge}

    async def lease(self, scope: Scope, receive: Receive, send: Send) -> None:
        wanted = await _read(scope, receive, LeaseRequest, LARGEST_ASKING)
        pool, worker = _who(scope, wanted.worker)
        leases = await _unless_gone(self._pools, pool, worker, wanted, receive)
        await answer(send, 200, encode(LeasesAnswer(leases=leases)))

    async def heartbeat(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = await _read(scope, receive, HeartbeatRequest, LARGEST_ASKING)
        pool, worker = _who(scope, sent.worker)
        await answer(send, 200, encode(await self._pools.heartbeat(pool, worker, sent.attempts)))

    async def acknowledge(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = await _read(scope, receive, AcknowledgeRequest, LARGEST_ACKNOWLEDGEMENT)
        pool, worker = _who(scope, sent.worker)
        await answer(send, 200, encode(await self._pools.acknowledge(pool, worker, sent)))


def holder_of(caller: Caller, worker: str) -> str:
    """What a lease belongs to: no caller can name another's, nor an attempt that is pods (`kubernetes/...`)."""
    if caller.name.startswith(_ACCOUNT):
        return f"account/{caller.name.removeprefix(_ACCOUNT).replace(':', '/')}/{worker}"
    return f"user/{caller.name}/{worker}"


def _who(scope: Scope, worker: str) -> tuple[PoolName, WorkerIdentity]:
    entry = entry_of(scope)
    pool = PoolName(namespace=entry.parameters["namespace"], queue=entry.parameters["queue"])
    return pool, WorkerIdentity(actor=entry.caller.name, holder=holder_of(entry.caller, worker))


async def _unless_gone(
    pools: PoolService, pool: PoolName, worker: WorkerIdentity, wanted: LeaseRequest, receive: Receive
) -> list[LeaseAnswer]:
    """Waits no longer than the client does: after the body, all that can be received is that it has gone."""
    leasing = asyncio.ensure_future(pools.lease(pool, worker, wanted))
    leaving = asyncio.ensure_future(receive())
    try:
        await asyncio.wait((leasing, leaving), return_when=asyncio.FIRST_COMPLETED)
        if leasing.done():
            return leasing.result()
        raise DisconnectedError
    finally:
        leaving.cancel()
        if not leasing.done():
            leasing.cancel()
            await asyncio.gather(leasing, return_exceptions=True)


async def _read(scope: Scope, receive: Receive, kind: type[T], largest: int) -> T:
    require_json(scope)
    return understood(await read_body(scope, receive, largest), kind)
