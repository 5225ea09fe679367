"""Commit and bind when the API server answers late, twice, not at all, or about somebody else's write."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bones.extender_world import make_gang, make_pod, make_single_ticket, make_state
from bones.scripted_api_server import Answer, ScriptedApiServer, hangs_up, refuses, says, scripted
from bones.span_notes import TRACE, SpanNotes
from muster_api.names import GPU_RESOURCE, TRACE_ANNOTATION
from muster_api.phases import GangPhase
from muster_api.reasons import Reason
from muster_extender import binding
from muster_extender.barrier import Abort, Outcome
from muster_extender.binding import Binder, BindRate
from muster_extender.committing import GangCommitter
from muster_extender.gangs import GangRecord, record_of
from muster_extender.metrics import Metrics
from muster_extender.state import ClusterState
from muster_kube.clock import SystemClock
from muster_kube.session import ApiSession
from muster_kube.writer import Writer

COVERED = says(200, {"metadata": {"name": "default"}, "spec": {"term": 1, "seq": 5}})
NEW_TERM = says(200, {"metadata": {"name": "default"}, "spec": {"term": 2, "seq": 0}})
CONFLICT = refuses(409, "Conflict", "the object has been modified")
LATE = refuses(504, "Timeout", "etcdserver: request timed out")


def found(phase: GangPhase, epoch: str = "1-1", gang_id: str = "a" * 16) -> Answer:
    return says(200, json.loads(msgspec.json.encode(make_gang(phase, epoch=epoch, gang_id=gang_id))))


def record() -> GangRecord:
    read = record_of(make_gang())
    assert read is not None
    return read


@asynccontextmanager
async def writing(folder: Path, *script: Answer) -> AsyncIterator[tuple[ScriptedApiServer, Writer]]:
    async with scripted(*script) as server, await ApiSession.connect(server.write_kubeconfig(folder)) as session:
        yield server, Writer(session)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ([COVERED, says(200, {})], Outcome.WRITTEN),
        ([NEW_TERM], Outcome.NOT_WRITTEN),
        ([refuses(404, "NotFound")], Outcome.NOT_WRITTEN),
        ([COVERED, CONFLICT, found(GangPhase.RELEASED)], Outcome.NOT_WRITTEN),
        ([COVERED, CONFLICT, found(GangPhase.COMMITTED)], Outcome.WRITTEN),
        ([COVERED, CONFLICT, found(GangPhase.RUNNING)], Outcome.WRITTEN),
        ([COVERED, CONFLICT, found(GangPhase.PENDING, "1-2")], Outcome.GANG_GONE),
        ([COVERED, CONFLICT, found(GangPhase.COMMITTED, "1-2")], Outcome.GANG_GONE),
        ([COVERED, CONFLICT, found(GangPhase.RELEASED, gang_id="b" * 16)], Outcome.GANG_GONE),
        ([COVERED, refuses(404, "NotFound"), refuses(404, "NotFound")], Outcome.GANG_GONE),
        ([COVERED, hangs_up(), found(GangPhase.COMMITTED)], Outcome.WRITTEN),
        ([COVERED, LATE, found(GangPhase.RELEASED)], Outcome.NOT_WRITTEN),
        ([COVERED, LATE, refuses(500, "InternalError"), found(GangPhase.COMMITTED)], Outcome.WRITTEN),
        ([COVERED, refuses(403, "Forbidden")], Outcome.NOT_WRITTEN),
    ],
)
async def test_a_commit_is_settled_by_what_the_gang_says(
    script: list[Answer], expected: Outcome, tmp_path: Path
) -> None:
    async with writing(tmp_path, *script) as (server, writer):
        assert await GangCommitter(writer, SystemClock()).commit(record(), 2) is expected
        assert not server.script


async def test_an_abort_takes_everything_back_in_the_next_epoch(tmp_path: Path) -> None:
    bodies: list[Any] = []

    async def answer(request: Any) -> Any:
        bodies.append(json.loads(await request.read()))
        return await says(200, {})(request)

    async with writing(tmp_path, answer) as (_, writer):
        abort = Abort(Reason.BARRIER_TIMEOUT, "1 of 2 members at the barrier", "n1")
        assert await GangCommitter(writer, SystemClock()).abort(record(), abort) is Outcome.WRITTEN
    [body] = bodies
    assert body["metadata"] == {"resourceVersion": "1"}
    status = body["status"]
    assert (status["phase"], status["epoch"], status["plan"], status["reservation"]) == ("Pending", "1-2", None, None)
    assert status["aborts"]["count"] == 1
    assert status["aborts"]["last"]["node"] == "n1"


def pod_answer(node: str = "", *, uid: str = "", deleting: bool = False) -> Answer:
    return says(200, json.loads(msgspec.json.encode(make_pod("a", node=node, uid=uid, deleting=deleting))))


BINDINGS: dict[str, tuple[list[Answer], str]] = {
    "bound": ([says(201, {})], ""),
    "another call was first": ([CONFLICT, pod_answer("n0")], ""),
    "bound elsewhere meanwhile": ([CONFLICT, pod_answer("n1")], binding.BOUND_ELSEWHERE),
    "another pod of that name": ([CONFLICT, pod_answer(uid="other")], binding.POD_GONE),
    "being deleted": ([CONFLICT, pod_answer(deleting=True)], binding.POD_GONE),
    "gone": ([refuses(404, "NotFound")], binding.POD_GONE),
    "gated": ([CONFLICT, pod_answer()], f"{binding.NOT_BINDABLE}: the object has been modified"),
    "no answer, and it had worked": ([hangs_up(), pod_answer("n0")], ""),
    "no answer, and it had not worked": ([hangs_up(), pod_answer(), says(201, {})], ""),
    "too many requests": ([refuses(429, "TooManyRequests", **{"Retry-After": "0"}), says(201, {})], ""),
    "an answer of 500 and then a conflict with itself": ([LATE, pod_answer(), CONFLICT, pod_answer("n0")], ""),
}


def single() -> ClusterState:
    state = make_state()
    state.observe_pod(make_pod("a", gpus=2, ticket=make_single_ticket("uid-a")))
    return state


async def bind(writer: Writer, state: ClusterState, is_alive: Callable[[], bool] = lambda: True) -> str:
    binder = Binder(writer, state, BindRate(4), Metrics(), 4)
    return await binder.bind(state.pods["uid-a"], "n0", is_alive)


@pytest.mark.parametrize("case", BINDINGS)
async def test_a_binding_is_posted_until_its_end_is_known(case: str, tmp_path: Path) -> None:
    script, expected = BINDINGS[case]
    state = single()
    async with writing(tmp_path, *script) as (server, writer):
        assert await bind(writer, state) == expected
        assert not server.script
    # Bound or not, the pod's GPUs are counted once: by the binding, or by its ticket.
    assert state.ledger.free("n0", GPU_RESOURCE) == 6
    assert state.ledger.has_firm_room("n0", {GPU_RESOURCE: 7}) == bool(expected)


@pytest.mark.parametrize("annotation", [TRACE, "", "nonsense"])
@pytest.mark.parametrize("case", ["bound", "gone"])
async def test_a_binding_is_a_span_of_its_pods_trace(case: str, annotation: str, tmp_path: Path) -> None:
    script, error = BINDINGS[case]
    state, notes = single(), SpanNotes()
    pod = make_pod("a", gpus=2, ticket=make_single_ticket("uid-a"))
    pod.metadata.annotations[TRACE_ANNOTATION] = annotation
    state.observe_pod(pod)
    async with writing(tmp_path, *script) as (_, writer):
        binder = Binder(writer, state, BindRate(4), Metrics(), 4, notes)
        assert await binder.bind(state.pods["uid-a"], "n0", lambda: True) == error
    told = [(span.name, span.parent, span.error, span.attributes["k8s.node.name"]) for span in notes.spans]
    assert told == ([("bind pod", TRACE, error, "n0")] if annotation == TRACE else [])


async def test_no_binding_is_posted_for_a_call_that_is_gone(tmp_path: Path) -> None:
    async with writing(tmp_path, says(201, {})) as (server, writer):
        assert await bind(writer, single(), lambda: False) == binding.CALL_GONE
        assert server.requests == []


class Alive:
    """A call that is given up on after so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def __call__(self) -> bool:
        self.looks -= 1
        return self.looks >= 0


async def test_a_binding_that_may_still_land_keeps_its_gpus(tmp_path: Path) -> None:
    state = single()
    async with writing(tmp_path, hangs_up(), pod_answer()) as (_, writer):
        assert await bind(writer, state, Alive(1)) == binding.CALL_GONE
    assert not state.ledger.has_firm_room("n0", {GPU_RESOURCE: 7})


async def test_a_binding_in_doubt_is_given_up_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state, given_up = single(), asyncio.Event()
    monkeypatch.setattr(binding, "IN_DOUBT_SECONDS", 0.0)
    monkeypatch.setattr(state, "cancel_bind", lambda record: given_up.set())
    async with writing(tmp_path, hangs_up(), pod_answer()) as (_, writer):
        assert await bind(writer, state, Alive(1)) == binding.CALL_GONE
        await asyncio.wait_for(given_up.wait(), 5)


async def test_a_second_call_for_another_node_does_not_get_the_success_of_the_first(tmp_path: Path) -> None:
    state = single()
    async with writing(tmp_path, says(201, {})) as (server, writer):
        binder = Binder(writer, state, BindRate(4), Metrics(), 4)
        calls = [binder.bind(state.pods["uid-a"], node, lambda: True) for node in ("n0", "n1", "n0")]
        assert await asyncio.gather(*calls) == ["", binding.BOUND_ELSEWHERE, ""]
        assert len(server.requests) == 1


async def test_a_new_call_ends_the_doubt_about_the_one_before(tmp_path: Path) -> None:
    state = single()
    async with writing(tmp_path, hangs_up(), pod_answer(), CONFLICT, pod_answer("n0")) as (_, writer):
        binder = Binder(writer, state, BindRate(4), Metrics(), 4)
        assert await binder.bind(state.pods["uid-a"], "n0", Alive(1)) == binding.CALL_GONE
        assert binder._in_doubt
        assert await binder.bind(state.pods["uid-a"], "n0", lambda: True) == ""
        assert not binder._in_doubt


def burst(rate: BindRate, count: int, seconds: float) -> None:
    """This many bindings asked for at once, done one after another."""
    for _ in range(count):
        rate.begin(10.0)
    for number in range(count):
        rate.end(10.0 + seconds * (number + 1) / count)


def test_the_bind_rate_learns_from_bursts_that_fill_every_slot() -> None:
    rate = BindRate(4, initial=100.0, lowest=50.0)
    burst(rate, 7, 0.0175)
    # Slots were all taken while the first four of the seven ended.
    assert rate() == pytest.approx(0.7 * 100 + 0.3 * 400)


def test_a_trickle_says_nothing_about_the_bind_rate() -> None:
    rate = BindRate(4, initial=100.0)
    burst(rate, 3, 100.0)
    for number in range(100):
        rate.begin(number * 0.1)
        rate.begin(number * 0.1)
        rate.end(number * 0.1 + 0.05)
        rate.end(number * 0.1 + 0.06)
    assert rate() == 100.0


def test_the_bind_rate_never_falls_below_its_floor() -> None:
    rate = BindRate(4, initial=100.0, lowest=50.0)
    for _ in range(20):
        burst(rate, 8, 1000.0)
    assert rate() == 50.0
