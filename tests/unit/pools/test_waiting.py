from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from muster_queue.pools.waiting import Waiter, WaitingLine, share_out


def waiter(most: int = 1, loop: asyncio.AbstractEventLoop | None = None) -> Waiter:
    future = (loop or asyncio.get_running_loop()).create_future()
    return Waiter("holder", "actor", most, None, future)


async def test_who_waits_longest_is_filled_first() -> None:
    first, second, third = waiter(2), waiter(3), waiter(1)
    shares = list(share_out([first, second, third], "abcd"))
    assert [(owner, item) for owner, item in shares] == [(first, "a"), (first, "b"), (second, "c"), (second, "d")]


@given(st.lists(st.integers(1, 20), max_size=20), st.integers(0, 100))
def test_nothing_is_shared_out_twice_and_nobody_gets_more_than_asked_for(wanted: list[int], count: int) -> None:
    loop = asyncio.new_event_loop()
    try:
        waiters = [waiter(most, loop) for most in wanted]
        shares = list(share_out(waiters, range(count)))
    finally:
        loop.close()
    assert [item for _, item in shares] == list(range(min(count, sum(wanted))))
    assert all(sum(owner is one for owner, _ in shares) <= one.most for one in waiters)


async def test_time_is_over_only_after_a_look_for_it() -> None:
    line, one = WaitingLine(), waiter()
    line.join(one)
    line.time_over(one)
    assert not one.is_gone
    line.begin([one])
    line.end([one])
    assert one.answer.result() == []


async def test_nobody_is_told_that_there_is_nothing_while_a_claim_is_under_way() -> None:
    line, one = WaitingLine(), waiter()
    line.join(one)
    line.begin([one])
    line.end([one])
    line.begin([one])
    line.time_over(one)
    assert not one.is_gone
    line.end([one])
    assert one.is_gone


async def test_who_has_gone_is_forgotten() -> None:
    line, staying, leaving = WaitingLine(), waiter(), waiter()
    line.join(leaving)
    line.join(staying)
    leaving.answer.cancel()
    assert line.present() == [staying] and len(line) == 1
