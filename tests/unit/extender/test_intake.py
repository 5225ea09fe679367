"""The intake: everything in order, and the loop never held up for long."""

from __future__ import annotations

import asyncio
import itertools

from muster_extender.intake import STEPS_IN_A_ROW, Intake


async def test_what_is_told_while_it_catches_up_waits_its_turn() -> None:
    intake, seen = Intake(), list[str]()
    observed = intake.ordered(seen.append)
    observed("first")
    intake.defer([lambda: observed("last"), lambda: seen.append("second")])
    assert seen == [] and intake.is_behind
    await intake.catch_up()
    assert seen == ["first", "second", "last"]
    observed("at once")
    assert seen[-1] == "at once" and not intake.is_behind


async def test_the_loop_turns_between_a_few_steps() -> None:
    intake, done, turns = Intake(), list[int](), list[int]()
    intake.defer([lambda: done.append(1)] * (5 * STEPS_IN_A_ROW))
    work = asyncio.create_task(intake.catch_up())
    while not work.done():
        turns.append(len(done))
        await asyncio.sleep(0)
    turns.append(len(done))
    assert max(after - before for before, after in itertools.pairwise(turns)) <= STEPS_IN_A_ROW
    assert len(done) == 5 * STEPS_IN_A_ROW


async def test_it_is_behind_again_while_much_is_to_be_done() -> None:
    intake, seen = Intake(), list[str]()
    await intake.catch_up()
    running = asyncio.create_task(intake.run())
    intake.defer([])
    assert not intake.is_behind
    caught_up = asyncio.Event()
    intake.defer([lambda: seen.append("deferred"), caught_up.set])
    intake.ordered(seen.append)("told later")
    assert intake.is_behind and seen == []
    await asyncio.wait_for(caught_up.wait(), 5)
    await asyncio.sleep(0)
    assert seen == ["deferred", "told later"] and not intake.is_behind
    running.cancel()
