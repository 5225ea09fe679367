"""Steps of the leader: what begins when it steps down leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import warnings

import pytest

from bones.gang_store import GangStore, make_hands
from muster_queue.controller.attention import Attention
from muster_queue.controller.workers import Workers


class SteppedDownError(Exception):
    pass


async def test_a_step_that_was_cancelled_before_it_began_is_not_warned_of() -> None:
    hands = make_hands(GangStore())
    workers = Workers(Attention(hands.world, hands.clock), hands.metrics)
    began = False

    async def step() -> None:
        nonlocal began
        began = True

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with pytest.RaisesGroup(SteppedDownError):
            async with asyncio.TaskGroup() as tasks:
                workers.work_in(tasks)
                workers.start("pod", step())
                raise SteppedDownError
        gc.collect()
    assert not began
    assert [str(each.message) for each in heard] == []
