"""Cancellations that a library loses, as Python 3.11's `wait_for` does with one that comes with the result."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from muster_queue.index.cancellation import heeding_cancellation


async def swallow(started: asyncio.Event) -> str:
    """Answers, whoever cancels it meanwhile."""
    with contextlib.suppress(asyncio.CancelledError):
        started.set()
        await asyncio.Event().wait()
    return "answer"


async def begin(work: object) -> tuple[asyncio.Task[object], asyncio.Event]:
    started = asyncio.Event()
    task = asyncio.create_task(work(started))
    await started.wait()
    return task, started


async def test_a_cancellation_that_was_swallowed_within_is_raised() -> None:
    async def heed(started: asyncio.Event) -> str:
        with heeding_cancellation():
            return await swallow(started)

    task, _ = await begin(heed)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_it_comes_before_any_error_of_that_moment() -> None:
    async def fail(started: asyncio.Event) -> None:
        with heeding_cancellation():
            await swallow(started)
            raise OSError("closed")

    task, _ = await begin(fail)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_time_limit_within_or_around_stays_one() -> None:
    with heeding_cancellation(), pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            with heeding_cancellation():
                await swallow(asyncio.Event())


async def test_nothing_else_is_changed() -> None:
    with heeding_cancellation():
        await asyncio.sleep(0)
    with pytest.raises(OSError, match="closed"), heeding_cancellation():
        raise OSError("closed")
