"""A second leader of the queue service: one that does not know yet that it has been voted out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from bones.storing import make_settings
from muster_api.jobs import AIJob
from muster_kube.clock import SystemClock
from muster_kube.reflector import Reflector
from muster_kube.resources import AIJOBS
from muster_kube.session import ApiSession
from muster_kube.writer import Writer
from muster_queue.dispatch.leading import Dispatch, DispatchStores
from muster_queue.dispatch.metrics import DispatchMetrics
from muster_queue.dispatch.settings import DispatchSettings, ServiceSettings
from muster_queue.index.connection import IndexSettings
from muster_queue.jobs.templates import priority_of

PATIENCE = 60


@dataclass
class Rival:
    """All that a leader does beside its gangs, on the stores and the API server of the real one."""

    kubeconfig: Path
    database_url: str
    redis_url: str
    window: int
    registry: CollectorRegistry

    def did(self, name: str, **labels: str) -> float:
        """One of its counters."""
        return self.registry.get_sample_value(name, labels) or 0.0

    @contextmanager
    def leading(self) -> Iterator[None]:
        """In a thread of its own, from when it knows all AIJobs until this is left."""
        loop, ready = asyncio.new_event_loop(), threading.Event()
        work = loop.create_task(self._lead(ready))
        thread = threading.Thread(target=_run, args=(loop, work))
        thread.start()
        try:
            assert ready.wait(PATIENCE)
            yield
            assert not work.done()
        finally:
            loop.call_soon_threadsafe(work.cancel)
            thread.join()

    async def _lead(self, ready: threading.Event) -> None:
        settings = ServiceSettings(
            DispatchSettings(dispatch_window=self.window),
            make_settings(self.database_url),
            IndexSettings(url=SecretStr(self.redis_url)),
        )
        async with AsyncExitStack() as stack, await ApiSession.connect(self.kubeconfig) as session:
            stores = await DispatchStores.open(settings, stack)
            writer, metrics = Writer(session, concurrency=16), DispatchMetrics(self.registry)
            dispatch = Dispatch(stores, writer, lambda: True, _priority_of, metrics, SystemClock())
            reflector = Reflector(session, AIJOBS, AIJob)
            dispatch.feed.subscribe(reflector)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(reflector.run())
                await reflector.synced.wait()
                tasks.create_task(dispatch.lead())
                ready.set()


def _run(loop: asyncio.AbstractEventLoop, work: asyncio.Task[None]) -> None:
    try:
        loop.run_until_complete(asyncio.gather(work, return_exceptions=True))
    finally:
        loop.close()


def _priority_of(job: AIJob) -> int:
    return priority_of(job, None)
