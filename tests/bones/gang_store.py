"""The controller's hands over an API server in memory: one Gang, compare-and-swapped, and everything asked of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec
from prometheus_client import CollectorRegistry

from bones.clock import ManualClock
from bones.gang_views import make_gang
from muster_api.gangs import Gang
from muster_api.names import GPU_RESOURCE
from muster_api.objects import Pod
from muster_kube.errors import Conflict, NotFound
from muster_kube.events import EventRecorder
from muster_kube.session import ApiSession
from muster_kube.writer import Writer
from muster_queue.controller.gang_writer import GangWriter
from muster_queue.controller.job_performing import JobHands, JobPerformer
from muster_queue.controller.job_writer import JobWriter
from muster_queue.controller.metrics import Metrics
from muster_queue.controller.performing import Hands
from muster_queue.controller.pod_maker import PodMaker
from muster_queue.controller.reporting import Reporter
from muster_queue.controller.ticket_writer import TicketWriter
from muster_queue.controller.world import World

T = TypeVar("T")

NO_SESSION = cast(ApiSession, None)
"""Nothing here asks for one: all that the writers do is answered in memory."""


class GangStore(Writer):
    """Holds one Gang. `on_write` and `on_patch` are called at each such request and may raise or change things."""

    def __init__(self, gang: Gang | None = None) -> None:
        super().__init__(NO_SESSION)
        self.gang = gang
        self.budgets: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.on_write: Callable[[], None] = lambda: None
        self.on_patch: Callable[[str], None] = lambda path: None

    def put(self, gang: Gang) -> Gang:
        """What another client writes: the same with the next resource version."""
        version = str(int(self.gang.metadata.resource_version if self.gang else "0") + 1)
        metadata = msgspec.structs.replace(gang.metadata, resource_version=version)
        self.gang = msgspec.structs.replace(gang, metadata=metadata)
        return self.gang

    async def get(self, path: str, type_: type[T], *, timeout: float | None = None) -> T:
        if path.endswith("/poddisruptionbudgets"):
            return msgspec.convert({"items": self.budgets}, type_)
        if self.gang is None:
            raise NotFound(404)
        return msgspec.json.decode(msgspec.json.encode(self.gang), type=type_)

    async def replace_status(self, path: str, body: Any, *, timeout: float | None = None) -> bytes:
        self.asked.append("status")
        self.on_write()
        known = self._known()
        asked = msgspec.json.decode(body, type=Gang)
        if asked.metadata.resource_version != known.metadata.resource_version:
            raise Conflict(409)
        return msgspec.json.encode(self.put(msgspec.structs.replace(known, status=asked.status)))

    async def delete(self, path: str, **options: Any) -> bytes:
        self.asked.append("delete")
        if options["resource_version"] != self._known().metadata.resource_version:
            raise Conflict(409)
        self.gang = None
        return b"{}"

    async def patch_strategic(self, path: str, body: Any, *, timeout: float | None = None) -> bytes:
        self.asked.append(path)
        self.on_patch(path)
        return msgspec.json.encode(Pod())

    async def evict_pod(self, namespace: str, name: str, uid: str, **options: Any) -> bytes:
        self.asked.append(f"evict {name}")
        return b"{}"

    def _known(self) -> Gang:
        if self.gang is None:
            raise NotFound(404)
        return self.gang


def make_hands(store: GangStore, clock: ManualClock | None = None) -> Hands:
    """Hands of a leader that never loses its Lease."""
    clock = clock or ManualClock()
    world = World((GPU_RESOURCE,))
    if store.gang is None:
        store.put(make_gang())
    assert store.gang is not None
    world.see_gang(store.gang)
    gangs, metrics = GangWriter(NO_SESSION, store, lambda: True), Metrics(CollectorRegistry())
    reporter = Reporter(EventRecorder(store, "tests", clock=clock))
    makers = JobHands(jobs=JobWriter(store, lambda: True), pods=PodMaker(store, lambda: b"key", lambda: True))
    return Hands(
        world=world,
        gangs=gangs,
        tickets=TicketWriter(store, lambda: b"key", lambda pod: None, lambda: True),
        pods=store,
        reporter=reporter,
        metrics=metrics,
        clock=clock,
        jobs=JobPerformer(world, gangs, makers, reporter, metrics, clock),
    )
