"""Registers the node and keeps it alive: the status now and then, the Lease every few seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import structlog

from muster_kube.clock import Clock
from muster_kube.errors import AlreadyExists, ApiError, NotFound
from muster_kube.resources import LEASES, NODES
from muster_kube.writer import Writer
from muster_local.process_node.node_object import LEASE_NAMESPACE, lease_document, node_document, node_status

log = structlog.get_logger(__name__)

_RENEWALS: Final = 4
_FIRST_TRY_SECONDS: Final = 1.0


class Registration:
    """`run` is a supervised task; `done` is set once the node is Ready."""

    def __init__(
        self,
        writer: Writer,
        clock: Clock,
        name: str,
        capacity: Mapping[str, str],
        address: str,
        *,
        lease_seconds: float,
        status_seconds: float,
    ) -> None:
        self.done = asyncio.Event()
        self.port = 0
        """Of the kubelet API; known once it listens."""
        self._writer = writer
        self._clock = clock
        self._name = name
        self._capacity = capacity
        self._address = address
        self._lease_seconds = lease_seconds
        self._status_seconds = status_seconds
        self._uid = ""
        self._status_at = 0.0

    async def run(self) -> None:
        """Tries for ever: an API server that is away comes back, a Node that somebody deleted is made again."""
        while True:
            pause = self._lease_seconds / _RENEWALS
            try:
                await self._beat()
            except NotFound:
                self._uid = ""
                pause = min(pause, _FIRST_TRY_SECONDS)
            except ApiError as error:
                log.warning("no sign of life given", error=str(error))
                pause = min(pause, _FIRST_TRY_SECONDS)
            await asyncio.sleep(pause)

    async def _beat(self) -> None:
        if not self._uid:
            self._uid = await self._register()
            self._status_at = 0.0
        await self._renew_lease()
        if self._clock.monotonic() >= self._status_at:
            await self._write_status()
            self._status_at = self._clock.monotonic() + self._status_seconds
        self.done.set()

    async def _register(self) -> str:
        document = node_document(self._name)
        try:
            answer = await self._writer.create(NODES.collection, document)
        except AlreadyExists:
            answer = await self._writer.patch_merge(NODES.object_path(None, self._name), document)
        node = msgspec.json.decode(answer)
        return str(node["metadata"]["uid"])

    async def _renew_lease(self) -> None:
        document = lease_document(self._name, self._uid, self._lease_seconds, self._clock.now())
        try:
            await self._writer.patch_merge(LEASES.object_path(LEASE_NAMESPACE, self._name), document)
        except NotFound:
            await self._writer.create(LEASES.in_namespace(LEASE_NAMESPACE).collection, document)

    async def _write_status(self) -> None:
        path = NODES.object_path(None, self._name)
        node: dict[str, Any] = await self._writer.get(path, dict[str, Any])
        conditions = node.get("status", {}).get("conditions") or []
        since = {(entry["type"], entry["status"]): entry["lastTransitionTime"] for entry in conditions}
        status = node_status(self._capacity, self._address, self.port, self._clock.now(), since)
        await self._writer.patch_strategic(f"{path}/status", {"status": status})
