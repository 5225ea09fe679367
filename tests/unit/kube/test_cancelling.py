"""Tasks that lose a cancellation."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from muster_kube import cancelling
from muster_kube.cancelling import end_all


async def swallow(started: asyncio.Event) -> str:
    """Answers, whoever cancels it meanwhile."""
    with contextlib.suppress(asyncio.CancelledError):
        started.set()
        await asyncio.Event().wait()
    return "answer"


async def test_who_has_lost_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelling, "AGAIN_SECONDS", 0.001)

    async def go_on(started: asyncio.Event) -> None:
        await swallow(started)
        await swallow(started)
        await asyncio.Event().wait()

    started = asyncio.Event()
    task = asyncio.create_task(go_on(started))
    async with asyncio.timeout(10):
        await started.wait()
        await end_all([task])
    assert task.cancelled()
