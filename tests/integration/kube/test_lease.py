"""Leader election among several candidates on a real API server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from bones.tcp_fault_proxy import Direction, FaultProxy, Faults
from muster_kube.errors import Conflict
from muster_kube.lease import LeaderElector, Lease, LeaseSettings, SupersededError
from muster_kube.resources import LEASES
from muster_kube.session import ApiSession
from muster_kube.writer import Writer


@dataclass
class Candidate:
    """An elector, and what its work has seen."""

    elector: LeaderElector
    terms: list[int] = field(default_factory=list)
    is_working: bool = False
    task: asyncio.Task[None] | None = None

    async def lead(self, term: int) -> None:
        self.terms.append(term)
        self.is_working = True
        try:
            await asyncio.Event().wait()
        finally:
            self.is_working = False

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


def make_candidate(writer: Writer, namespace: str, identity: str) -> Candidate:
    settings = LeaseSettings(
        namespace=namespace, name="lock", identity=identity, duration=4.0, renew_deadline=3.0, retry_period=0.3
    )
    return Candidate(LeaderElector(writer, settings))


@asynccontextmanager
async def campaigning(*candidates: Candidate) -> AsyncIterator[None]:
    for candidate in candidates:
        candidate.task = asyncio.create_task(candidate.elector.run(candidate.lead))
    try:
        yield
    finally:
        for candidate in candidates:
            await candidate.stop()


async def until(condition: Callable[[], Any], what: str, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        await asyncio.sleep(0.01)


def path(namespace: str) -> str:
    return LEASES.object_path(namespace, "lock")


async def test_one_of_three_leads_and_the_next_follows_a_release_at_once(writer: Writer, namespace: str) -> None:
    candidates = [make_candidate(writer, namespace, name) for name in ("a", "b", "c")]
    async with campaigning(*candidates):
        await until(lambda: any(candidate.is_working for candidate in candidates), "a first leader")
        first = next(candidate for candidate in candidates if candidate.is_working)
        await asyncio.sleep(1.0)
        assert [candidate.is_working for candidate in candidates].count(True) == 1
        started = time.monotonic()
        await first.stop()
        assert not first.elector.is_leader
        await until(lambda: any(candidate.is_working for candidate in candidates), "a second leader")
        assert time.monotonic() - started < 3.5, "a released lease is not waited out"
        second = next(candidate for candidate in candidates if candidate.is_working)
        assert second.terms == [first.terms[-1] + 1]
        first.task = asyncio.create_task(asyncio.sleep(0))


async def test_leader_cut_off_stops_before_another_begins(
    writer: Writer, namespace: str, frail_session: ApiSession, proxy: FaultProxy
) -> None:
    cut_off = make_candidate(Writer(frail_session), namespace, "cut-off")
    other = make_candidate(writer, namespace, "other")
    async with campaigning(cut_off):
        await until(lambda: cut_off.is_working, "the first leader")
        async with campaigning(other):
            proxy.faults = Faults(blackhole=frozenset(Direction))
            await until(lambda: other.is_working, "the second leader")
            assert not cut_off.is_working
            assert not cut_off.elector.is_leader
            assert other.terms[0] > cut_off.terms[0]
            proxy.faults = Faults()
            await asyncio.sleep(1.0)
            assert not cut_off.is_working


async def test_lost_answers_do_not_cost_the_leadership(
    namespace: str, frail_session: ApiSession, proxy: FaultProxy
) -> None:
    """Each cut makes a renewal ambiguous; the conflict with one's own write is no other leader."""
    candidate = make_candidate(Writer(frail_session), namespace, "unlucky")
    async with campaigning(candidate):
        await until(lambda: candidate.is_working, "the leader")
        for _ in range(10):
            proxy.cut()
            await asyncio.sleep(0.15)
        assert candidate.is_working
        assert len(candidate.terms) == 1


async def test_deleted_lease_is_made_anew_by_its_leader(writer: Writer, namespace: str) -> None:
    candidate, other = (make_candidate(writer, namespace, name) for name in "ab")
    async with campaigning(candidate):
        await until(lambda: candidate.is_working, "the leader")
        async with campaigning(other):
            await writer.delete(path(namespace))
            await asyncio.sleep(2.5)
            assert candidate.is_working + other.is_working == 1
            assert (await writer.get(path(namespace), Lease)).spec.holder_identity in ("a", "b")


async def test_restarted_replica_leads_at_once_and_its_former_process_ends(writer: Writer, namespace: str) -> None:
    former, restarted = (make_candidate(writer, namespace, "same") for _ in range(2))
    former.task = asyncio.create_task(former.elector.run(former.lead))
    await until(lambda: former.is_working, "the leader")
    started = time.monotonic()
    async with campaigning(restarted):
        await until(lambda: restarted.is_working, "the restarted leader")
        assert time.monotonic() - started < 3.5, "its own lease is not waited out"
        with pytest.raises(SupersededError):
            await asyncio.wait_for(former.task, 10)
        assert not former.is_working
        assert restarted.is_working
        assert (former.terms, restarted.terms) == ([1], [2])


async def test_released_lease_says_so(writer: Writer, namespace: str) -> None:
    candidate = make_candidate(writer, namespace, "a")
    async with campaigning(candidate):
        await until(lambda: candidate.is_working, "the leader")
    lease = await writer.get(path(namespace), Lease)
    assert lease.spec.holder_identity == ""
    assert lease.spec.lease_transitions == candidate.terms[-1]


async def test_crash_of_the_work_is_raised_and_the_lease_is_given_back(writer: Writer, namespace: str) -> None:
    candidate = make_candidate(writer, namespace, "a")

    async def broken(term: int) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        await asyncio.wait_for(candidate.elector.run(broken), 10)
    assert (await writer.get(path(namespace), Lease)).spec.holder_identity == ""


async def test_taken_name_is_a_conflict(writer: Writer, namespace: str) -> None:
    lease = {"metadata": {"name": "lock"}, "spec": {}}
    await writer.create(LEASES.in_namespace(namespace).collection, lease)
    with pytest.raises(Conflict):
        await writer.create(LEASES.in_namespace(namespace).collection, lease)
