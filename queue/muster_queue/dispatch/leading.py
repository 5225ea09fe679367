"""All that a leader does for the queue service, side by side; nothing here may slow or stop its gangs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final, Self

import structlog

from muster_api.jobs import AIJob
from muster_kube.backoff import Backoff
from muster_kube.cancelling import end_all
from muster_kube.clock import Clock
from muster_kube.tracing import NO_TRACER, Tracer
from muster_kube.writer import Writer
from muster_queue.dispatch.feed import Feed
from muster_queue.dispatch.importer import Importer
from muster_queue.dispatch.materialiser import Materialiser
from muster_queue.dispatch.measuring import Measurer
from muster_queue.dispatch.metrics import DispatchMetrics
from muster_queue.dispatch.mirror import Mirror
from muster_queue.dispatch.objects import JobObjects, NotLeadingError
from muster_queue.dispatch.recording import Recorder
from muster_queue.dispatch.relay import Relay
from muster_queue.dispatch.settings import DispatchSettings, ServiceSettings
from muster_queue.dispatch.timekeeper import Timekeeper
from muster_queue.dispatch.truth import PostgresTruth
from muster_queue.index.calls import Calls
from muster_queue.index.queue_index import QueueIndex
from muster_queue.index.reconciler import Reconciler
from muster_queue.storage.attempts import Attempts
from muster_queue.storage.audit import Sealer
from muster_queue.storage.database import Database
from muster_queue.storage.housekeeping import Housekeeping
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.moving import Mover
from muster_queue.storage.outbox import Outbox
from muster_queue.storage.pooled import Pooled
from muster_queue.storage.reflections import Reflections
from muster_queue.storage.settings import StorageSettings
from muster_queue.storage.submissions import Submissions

log = structlog.get_logger(__name__)

FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 5.0

Work = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class DispatchStores:
    """Where jobs are kept; opened at once, also where a store is away."""

    dispatch: DispatchSettings
    storage: StorageSettings
    database: Database
    calls: Calls | None

    @classmethod
    async def open(cls, settings: ServiceSettings, stack: AsyncExitStack) -> Self:
        database = await stack.enter_async_context(Database(settings.storage))
        calls = Calls.to(settings.index) if settings.index is not None else None
        if calls is not None:
            stack.push_async_callback(calls.close)
        return cls(settings.dispatch, settings.storage, database, calls)


class Dispatch:
    """Made once a process; `lead` runs for as long as this process leads."""

    def __init__(
        self,
        stores: DispatchStores,
        writer: Writer,
        is_leader: Callable[[], bool],
        priority_of: Callable[[AIJob], int],
        metrics: DispatchMetrics,
        clock: Clock,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self.feed = Feed(priority_of)
        self._stores = stores
        self._objects = JobObjects(writer, is_leader)
        self._priority_of = priority_of
        self._metrics = metrics
        self._clock = clock
        self._tracer = tracer

    async def lead(self) -> None:
        """Until cancelled: what fails is logged, counted and tried again."""
        mirror = self._mirror()
        works = {**self._works_on_aijobs(mirror), **self._works_on_stores()}
        self.feed.follow()
        tasks = [
            asyncio.create_task(self._go_on(name, work, mirror), name=f"dispatch {name}")
            for name, work in works.items()
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            # Gangs have no leader before the last of them has ended.
            await end_all(tasks)
            mirror.stop()
            self.feed.leave()

    async def _go_on(self, name: str, work: Work, mirror: Mirror) -> None:
        pause, told = Backoff(first=FIRST_PAUSE, longest=LONGEST_PAUSE), ""
        while True:
            try:
                await work()
            except NotLeadingError:
                # The term is over; whoever runs this ends it in a moment.
                await asyncio.sleep(LONGEST_PAUSE)
            except Exception as error:
                # Whatever it is: gangs go on, and so do the other works.
                self._metrics.failures.labels(name).inc()
                told = self._tell(name, error, told)
                await asyncio.sleep(pause.next_delay())
            else:
                if pause.failures and name == "mirror":
                    # What was changed meanwhile by others may have gone past us.
                    self.feed.needs_scan = True
                pause.reset()
                told = ""

    def _tell(self, name: str, error: Exception, told: str) -> str:
        """Once for each thing that goes wrong, however often it does; answers with what was told."""
        text = f"{type(error).__name__}: {error}"
        if text == told:
            return told
        if type(error).__module__.startswith("muster_"):
            log.warning("dispatch is held up", part=name, error=text)
        else:
            log.error("dispatch has failed", part=name, exc_info=error)
        return text

    def _mirror(self) -> Mirror:
        database, reflections = self._stores.database, Reflections(self._stores.database)
        return Mirror(
            self.feed,
            reflections,
            Importer(Submissions(database), self._priority_of),
            Recorder(self.feed, reflections, Mover(database), Attempts(database), self._objects),
            self._objects,
            self._metrics,
        )

    def _works_on_aijobs(self, mirror: Mirror) -> dict[str, Work]:
        database = self._stores.database
        materialiser = Materialiser(
            self._stores.dispatch,
            self.feed,
            Reflections(database),
            Jobs(database),
            Mover(database),
            self._objects,
            self._metrics,
            self._clock,
            self._tracer,
        )
        return {
            "materialise": materialiser.round,
            "mirror": mirror.follow,
            "wishes": mirror.look_for_wishes,
            "scan": mirror.scan_now_and_then,
        }

    def _works_on_stores(self) -> dict[str, Work]:
        database, calls = self._stores.database, self._stores.calls
        jobs, outbox = Jobs(database), Outbox(database)
        times = Timekeeper(jobs, Attempts(database), Mover(database), Reflections(database), self._metrics)
        relay = Relay(outbox, jobs, QueueIndex(calls) if calls is not None else None)
        housekeeping = Housekeeping(database)
        works: dict[str, Work] = {
            "due": times.wake,
            "expired": times.take_back,
            "relay": relay.round,
            "seal": Sealer(database).run,
            "housekeeping": lambda: housekeeping.run(self._stores.storage, self._clock),
        }
        reconciler = Reconciler(calls, PostgresTruth(jobs, Pooled(database))) if calls is not None else None
        if reconciler is not None:
            works["index"] = reconciler.run
        measurer = Measurer(Reflections(database), outbox, self.feed, reconciler, self._metrics, self._clock)
        return works | {"measure": measurer.round}
