"""EndpointSlices in memory, compare-and-swapped as the API server does it, and everything asked of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from bones.gang_store import NO_SESSION
from muster_api.objects import EndpointSlice
from muster_kube.errors import AlreadyExists, Conflict, NotFound
from muster_kube.writer import Writer

T = TypeVar("T")


class SliceStore(Writer):
    """`before_write` is called at each write and may raise or change things."""

    def __init__(self) -> None:
        super().__init__(NO_SESSION)
        self.slices: dict[str, EndpointSlice] = {}
        self.asked: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.before_write: Callable[[], None] = lambda: None
        self._version = 0

    def put(self, body: Any, uid: str = "") -> EndpointSlice:
        """What any client writes."""
        self._version += 1
        made = msgspec.json.decode(msgspec.json.encode(body), type=EndpointSlice)
        metadata = msgspec.structs.replace(
            made.metadata, resource_version=str(self._version), uid=uid or f"slice-{self._version}"
        )
        self.slices[metadata.name] = msgspec.structs.replace(made, metadata=metadata)
        return self.slices[metadata.name]

    def addresses(self) -> list[str]:
        return [
            address
            for slice_ in self.slices.values()
            for endpoint in slice_.endpoints or ()
            for address in endpoint.addresses
        ]

    async def get(self, path: str, type_: type[T], *, timeout: float | None = None) -> T:
        self.asked.append("get")
        return msgspec.json.decode(msgspec.json.encode(self._known(path)), type=type_)

    async def create(self, collection: str, body: Any, *, timeout: float | None = None) -> bytes:
        if collection.endswith("/events"):
            self.events.append(body)
            return b"{}"
        self._ask("create")
        if body["metadata"]["name"] in self.slices:
            raise AlreadyExists(409)
        return msgspec.json.encode(self.put(body))

    async def replace(self, path: str, body: Any, *, timeout: float | None = None) -> bytes:
        self._ask("replace")
        known = self._known(path)
        if body["metadata"]["resourceVersion"] != known.metadata.resource_version:
            raise Conflict(409)
        return msgspec.json.encode(self.put(body, known.metadata.uid))

    async def delete(self, path: str, **options: Any) -> bytes:
        self._ask("delete")
        metadata = self._known(path).metadata
        if (options["uid"], options["resource_version"]) != (metadata.uid, metadata.resource_version):
            raise Conflict(409)
        del self.slices[metadata.name]
        return b"{}"

    def _ask(self, verb: str) -> None:
        self.asked.append(verb)
        self.before_write()

    def _known(self, path: str) -> EndpointSlice:
        name = path.rsplit("/", 1)[1]
        if name not in self.slices:
            raise NotFound(404)
        return self.slices[name]
