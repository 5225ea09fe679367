"""The end of a term: the next one begins only after it, so nothing that the queue service does may hold it up."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from prometheus_client import CollectorRegistry

from muster_kube import cancelling
from muster_kube.clock import SystemClock
from muster_queue.dispatch.leading import Dispatch
from muster_queue.dispatch.metrics import DispatchMetrics


class Still:
    """A mirror that has nothing to do."""

    def stop(self) -> None:
        return


async def test_work_that_loses_its_cancellation_ends_with_the_term(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelling, "AGAIN_SECONDS", 0.001)
    started = asyncio.Event()

    async def lose() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            started.set()
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    dispatch = Dispatch(None, None, lambda: True, lambda _: 50, DispatchMetrics(CollectorRegistry()), SystemClock())
    monkeypatch.setattr(dispatch, "_mirror", Still)
    monkeypatch.setattr(dispatch, "_works_on_aijobs", lambda _: {"lose": lose})
    monkeypatch.setattr(dispatch, "_works_on_stores", dict)
    term = asyncio.create_task(dispatch.lead())
    async with asyncio.timeout(10):
        await started.wait()
        term.cancel()
        await asyncio.wait({term})
    assert term.cancelled()
