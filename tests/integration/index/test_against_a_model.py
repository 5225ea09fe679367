"""Any order of operations leaves the index as a few lines of Python say it should be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from pydantic import SecretStr

from bones.redis_servers import RedisServer
from muster_queue.index.calls import Calls
from muster_queue.index.connection import IndexSettings
from muster_queue.index.keys import QueueKey
from muster_queue.index.queue_index import QueueIndex
from muster_queue.index.values import Answer, Entry, Lease, Whereabouts

QUEUE = QueueKey("team", "modelled")
FAR = 3600.0
Result = TypeVar("Result")

jobs = st.sampled_from(["a", "b", "c", "d"])
attempts = st.integers(1, 3)
entries = st.builds(Entry, jobs, st.integers(0, 5), attempts)


@dataclass
class Modelled:
    """What is known of a job: for which attempt, and its score while it waits (None: it is leased)."""

    attempt: int
    score: int | None


class IndexMachine(RuleBasedStateMachine):
    """The index beside its model."""

    server: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self.server.ask("FLUSHALL")
        self.runner = asyncio.Runner()
        self.calls = Calls.to(IndexSettings(url=SecretStr(self.server.url), call_timeout=20))
        self.index = QueueIndex(self.calls)
        self.known: dict[str, Modelled] = {}

    def teardown(self) -> None:
        self.run(self.calls.close())
        self.runner.close()

    def run(self, call: Awaitable[Result]) -> Result:
        async def awaited() -> Result:
            return await call

        return self.runner.run(awaited())

    @rule(batch=st.lists(entries, max_size=4))
    def add(self, batch: list[Entry]) -> None:
        for entry in batch:
            self.run(self.index.add(QUEUE, [entry]))
            known = self.known.get(entry.job)
            if known is None or known.attempt < entry.attempt:
                self.known[entry.job] = Modelled(entry.attempt, entry.score)

    @rule(most=st.integers(0, 3))
    def take(self, most: int) -> None:
        waiting = sorted((known.score, job) for job, known in self.known.items() if known.score is not None)[:most]
        taken = self.run(self.index.take(QUEUE, most, FAR)).entries
        assert [(entry.score, entry.job) for entry in taken] == waiting
        for entry in taken:
            assert entry.attempt == self.known[entry.job].attempt
            self.known[entry.job].score = None

    @rule(job=jobs, attempt=attempts)
    def heartbeat(self, job: str, attempt: int) -> None:
        known = self.known.get(job)
        expected = Answer.UNKNOWN
        if known is not None and known.score is None:
            expected = Answer.DONE if known.attempt == attempt else Answer.STALE
        assert self.run(self.index.heartbeat(QUEUE, [Lease(job, attempt)], FAR)) == [expected]

    @rule(job=jobs, attempt=attempts)
    def acknowledge(self, job: str, attempt: int) -> None:
        known = self.known.get(job)
        expected = Answer.UNKNOWN
        if known is not None:
            expected = Answer.DONE if known.attempt <= attempt else Answer.STALE
        assert self.run(self.index.acknowledge(QUEUE, [Lease(job, attempt)])) == [expected]
        if expected is Answer.DONE:
            del self.known[job]

    @rule(entry=entries)
    def give_back(self, entry: Entry) -> None:
        known = self.known.get(entry.job)
        expected = Answer.UNKNOWN
        if known is not None and known.score is None:
            expected = Answer.DONE if known.attempt <= entry.attempt else Answer.STALE
        assert self.run(self.index.give_back(QUEUE, [entry])) == [expected]
        if expected is Answer.DONE:
            self.known[entry.job] = Modelled(entry.attempt, entry.score)

    @rule(entry=entries)
    def reprioritize(self, entry: Entry) -> None:
        known = self.known.get(entry.job)
        waits = known is not None and known.score is not None
        assert self.run(self.index.reprioritize(QUEUE, [entry])) == [waits]
        if known is not None and waits:
            known.score = entry.score

    @rule(job=jobs)
    def withdraw(self, job: str) -> None:
        known = self.known.pop(job, None)
        expected = Whereabouts.UNKNOWN
        if known is not None:
            expected = Whereabouts.LEASED if known.score is None else Whereabouts.WAITING
        assert self.run(self.index.withdraw(QUEUE, [job])) == [expected]

    @rule()
    def forget_the_scripts(self) -> None:
        self.server.ask("SCRIPT", "FLUSH")

    @invariant()
    def counts_are_right(self) -> None:
        depth = self.run(self.index.measure(QUEUE))
        leased = sum(known.score is None for known in self.known.values())
        assert (depth.waiting, depth.leased) == (len(self.known) - leased, leased)
        later = sum(known.attempt > 1 for known in self.known.values())
        assert self.server.ask("HLEN", QUEUE.attempts) == later


@pytest.fixture
def machine(server: RedisServer) -> Iterator[type[IndexMachine]]:
    IndexMachine.server = server
    yield IndexMachine
    server.ask("FLUSHALL")


def test_any_order_of_operations(machine: type[IndexMachine]) -> None:
    calm = settings(
        max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    run_state_machine_as_test(machine, settings=calm)


@pytest.mark.parametrize("size", [2, 3, 7])
async def test_a_batch_does_what_its_parts_do(index: QueueIndex, server: RedisServer, size: int) -> None:
    batch = [Entry("abc"[number % 3], number % 5, 1 + (number * 7) % 4) for number in range(size * 3)]
    await index.add(QUEUE, batch)
    together = (await index.take(QUEUE, 10, FAR)).entries
    server.ask("FLUSHALL")
    for entry in batch:
        await index.add(QUEUE, [entry])
    assert (await index.take(QUEUE, 10, FAR)).entries == together
