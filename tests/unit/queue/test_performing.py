"""Steps are carried out on the state that they were decided on, or not at all."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from structlog.testing import capture_logs

from bones.gang_store import GangStore, make_hands
from bones.gang_views import TERM, bound, make_gang, make_member, make_plan, make_ticket
from muster_api.gangs import Abort, Fence, Gang, GangOwner
from muster_api.objects import ObjectMeta, Pod
from muster_api.phases import GangPhase
from muster_api.reasons import Reason
from muster_kube.errors import Forbidden, Invalid, Unavailable
from muster_queue.controller import performing, statuses
from muster_queue.controller.attention import Attention
from muster_queue.controller.gang_writer import LostFenceError
from muster_queue.controller.performing import Hands, Performer
from muster_queue.controller.slots import Assignment
from muster_queue.controller.statuses import Report
from muster_queue.controller.steps import DeleteGang, EvictMembers, Move, SendTickets, Step
from muster_queue.controller.ticket_writer import TicketWriter
from muster_queue.controller.workers import Workers

RELEASED = make_gang(GangPhase.RELEASED, plan=make_plan(1))
GROUP = ("team", "pods-g")


def commit(store: GangStore, hands: Hands) -> None:
    """The extender writes, and the watch tells of it before the controller's step begins."""
    assert store.gang is not None
    status = msgspec.structs.replace(store.gang.status, phase=GangPhase.COMMITTED)
    hands.world.see_gang(store.put(msgspec.structs.replace(store.gang, status=status)))


def phase_of(store: GangStore) -> GangPhase | None:
    return store.gang.status.phase if store.gang is not None else None


def abort_of(gang: Gang) -> Move:
    return Move(statuses.aborted(gang.status, TERM, Abort(reason=Reason.RELEASE_TIMEOUT)), "abort")


def report_of(gang: Gang) -> Move:
    told = statuses.with_report(gang.status, Report(Reason.WAITING_AT_BARRIER, "waits"), "2026-01-01T00:00:00Z")
    return Move(told, "report")


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(abort_of(RELEASED), id="an abort"),
        pytest.param(report_of(RELEASED), id="a report"),
        pytest.param(DeleteGang("no pod carries its label"), id="a deletion"),
    ],
)
async def test_what_was_decided_before_the_commit_is_not_written_after_it(step: Step) -> None:
    store = GangStore(RELEASED)
    hands = make_hands(store)
    commit(store, hands)
    await Performer(hands, TERM).perform(hands.world.groups[GROUP], step, RELEASED)
    assert phase_of(store) is GangPhase.COMMITTED
    gang = hands.world.groups[GROUP].gang
    assert gang is not None
    assert gang.status.phase is GangPhase.COMMITTED


async def test_an_eviction_is_decided_anew_when_the_api_server_is_back() -> None:
    """Members may have been bound meanwhile, which changes nothing about the Gang itself."""

    def fail() -> None:
        raise Unavailable(503)

    store = GangStore(make_gang(GangPhase.COMMITTED, plan=make_plan(1)))
    hands = make_hands(store)
    store.on_write = fail
    gang = store.gang
    assert gang is not None
    evict = Move(statuses.evicting(gang.status, Reason.GANG_BROKEN), "evict")
    with pytest.raises(Unavailable):
        await Performer(hands, TERM).perform(hands.world.groups[GROUP], evict, gang)


async def test_a_step_on_the_state_it_was_decided_on_is_written() -> None:
    store = GangStore(RELEASED)
    hands = make_hands(store)
    await Performer(hands, TERM).perform(hands.world.groups[GROUP], abort_of(RELEASED), RELEASED)
    assert phase_of(store) is GangPhase.PENDING


@pytest.mark.parametrize("is_refused", [False, True], ids=["all tickets out", "a release refused"])
async def test_what_follows_the_tickets_is_not_written_over_a_commit(*, is_refused: bool) -> None:
    reserved = make_gang(GangPhase.RESERVED, plan=make_plan(1))
    store = GangStore(reserved)
    hands = make_hands(store)

    def while_sending(path: str) -> None:
        commit(store, hands)
        if is_refused:
            raise Invalid(422, "Invalid", "somebody else's webhook")

    store.on_patch = while_sending
    step = SendTickets((Assignment(make_member("a"), 0, "n1"),), statuses.released(reserved.status))
    await Performer(hands, TERM).perform(hands.world.groups[GROUP], step, reserved)
    assert phase_of(store) is GangPhase.COMMITTED


async def test_who_leads_no_more_steps_down_in_the_middle_of_the_tickets() -> None:
    tickets = TicketWriter(GangStore(), lambda: b"key", lambda pod: None, lambda: False)
    with pytest.raises(LostFenceError):
        await tickets.send_all([(make_member("a"), make_ticket(0))])


async def test_a_single_pod_whose_release_is_refused_is_left_alone_for_a_while() -> None:
    def refuse(path: str) -> None:
        raise Forbidden(403, "Forbidden", "somebody else's webhook")

    store = GangStore()
    store.on_patch = refuse
    hands = make_hands(store)
    attention = Attention(hands.world, hands.clock)
    workers = Workers(attention, hands.metrics)
    async with asyncio.TaskGroup() as tasks:
        workers.work_in(tasks)
        single = make_member("s", label="")
        workers.start(single.uid, Performer(hands, TERM).ticket_single(single, "n1", Fence(term=TERM, seq=1)))
    assert attention.take_due() == []


@pytest.mark.parametrize(
    ("allowed", "selector", "is_begun", "want"),
    [
        pytest.param(1, {"matchLabels": {"app": "a"}}, False, [], id="a budget for fewer holds up all"),
        pytest.param(2, {"matchLabels": {"app": "a"}}, False, ["evict a", "evict b"], id="a budget for all"),
        pytest.param(0, {"matchLabels": {"app": "b"}}, False, ["evict a", "evict b"], id="the budget of others"),
        pytest.param(0, None, False, ["evict a", "evict b"], id="a budget of nobody"),
        pytest.param(1, {}, True, ["evict b"], id="what has begun goes on"),
    ],
)
async def test_a_gang_is_evicted_whole_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
    *,
    allowed: int,
    selector: dict[str, object] | None,
    is_begun: bool,
    want: list[str],
) -> None:
    monkeypatch.setattr(performing, "EVICTION_RETRY", 0.0)
    store = GangStore(make_gang(GangPhase.EVICTING, plan=make_plan(2)))
    spec = {} if selector is None else {"selector": selector}
    store.budgets = [{"metadata": {"name": "budget"}, "spec": spec, "status": {"disruptionsAllowed": allowed}}]
    hands = make_hands(store)
    group = hands.world.groups[GROUP]
    members = [bound("a", 0, deleting=is_begun), bound("b", 1)]
    for member in members:
        group.members[member.uid] = member
        metadata = ObjectMeta(name=member.name, namespace="team", uid=member.uid, labels={"app": "a"})
        hands.world._pods[member.uid] = (Pod(metadata=metadata), member)
    step = EvictMembers(tuple(member for member in members if not member.deleting))
    await Performer(hands, TERM).perform(group, step, store.gang)
    assert store.asked == want


async def test_the_log_tells_of_a_gang_with_its_job_and_its_epoch() -> None:
    owner = GangOwner(kind="AIJob", name="digits", uid="u")
    gang = msgspec.structs.replace(RELEASED, spec=msgspec.structs.replace(RELEASED.spec, owner=owner))
    hands = make_hands(GangStore(gang))
    move = abort_of(gang)
    with capture_logs() as logs:
        await Performer(hands, TERM).perform(hands.world.groups[GROUP], move, gang)
    (told,) = [each for each in logs if each["event"] == "abort"]
    assert (told["gang"], told["job"], told["epoch"]) == (gang.key, "digits", move.status.epoch)
