"""The judge convicts every kind of breach, and only those: a judge that never fails proves nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bones.story import LIMIT, P, Story, ticket
from judge.records import Gap, read_history, write_history
from judge.verdict import judge_history
from judge.world import parse_ticket


def single(uid: str) -> str:
    return ticket(0, gang=f"pod-{uid}")


INNOCENT = {
    "a gang from creation to running": Story().running(),
    "an abort before commit, then a second epoch": (
        Story()
        .released()
        .gang("Pending", "1-2")
        .gang("Reserved", "1-2")
        .pod("a", release=ticket(0, epoch="1-2"))
        .pod("b", release=ticket(1, epoch="1-2"))
        .gang("Released", "1-2")
        .gang("Committed", "1-2")
        .bind("a", 0, release=ticket(0, epoch="1-2"))
        .bind("b", 1, release=ticket(1, epoch="1-2"))
    ),
    "a new leader's term in the next epoch": Story().released().gang("Pending", "2-2"),
    "an eviction of the whole gang": (
        Story()
        .running()
        .gang("Evicting")
        .pod("a", "DELETED", release=ticket(0), node="n1")
        .pod("b", "DELETED", release=ticket(1), node="n1")
        .gang("Pending", "1-2")
    ),
    "members that end one by one": (
        Story()
        .running()
        .bind("a", 0, phase="Succeeded")
        .pod("a", "DELETED", release=ticket(0), node="n1", phase="Succeeded")
        .wait(LIMIT + 1)
        .bind("b", 1, phase="Succeeded")
        .gang("Succeeded")
    ),
    "a member held by a finalizer while all others are gone": (
        Story()
        .running()
        .pod("a", "DELETED", release=ticket(0), node="n1")
        .bind("b", 1, deleting=True)
        .wait(LIMIT + 1)
        .pod("b", "DELETED", release=ticket(1), node="n1")
        .gang_gone()
    ),
    "ended members whose slots were given back": (
        Story().running().bind("a", 0, phase="Succeeded").gang("Running", plan=[{"node": "n1", "slots": "1"}], bound=1)
    ),
    "members adopted by a gang that was made again": (
        Story()
        .running()
        .gang_gone()
        .gang("Pending", uid="new", identity="bbbb")
        .gang("Running", uid="new", identity="bbbb", plan=[], bound=2)
    ),
    "a broken gang that its owner wants kept": (
        Story()
        .running()
        .bind("a", 0, annotations={f"{P}on-broken": "keep"})
        .pod("b", "DELETED", release=ticket(1), node="n1")
        .gang("Running", bound=1)
        .wait(LIMIT + 1)
    ),
    "a partial gang that is made whole in time": (
        Story().released().gang("Committed").bind("a", 0).wait(LIMIT - 5).bind("b", 1)
    ),
    "a single pod with its own ticket": (
        Story().node().pod("a", "ADDED", gang="").bind("a", 0, gang="", release=single("uid-a"))
    ),
    "a pod of an unmanaged namespace": (
        Story().node().pod("a", "ADDED", gang="", namespace="else", gates=[], node="n1")
    ),
    "what was bound before the watching began": Story().pod("a", "LISTED", gates=[], node="n1"),
    "GPUs of a finished pod given to the next": (
        Story()
        .node(gpus=1)
        .pod("a", "ADDED", gang="", release=single("uid-a"), node="n1")
        .pod("a", gang="", release=single("uid-a"), node="n1", phase="Succeeded")
        .pod("b", "ADDED", gang="", release=single("uid-b"), node="n1")
    ),
    "a name that is used again": (
        Story().pod("a", "ADDED").pod("a", deleting=True).pod("a", "DELETED").pod("a", "ADDED", uid="another")
    ),
    "a gate taken off by hand and never bound": Story().pod("a", "ADDED").pod("a", gates=[]),
}

GUILTY = {
    "bound before the commit": ("bind-before-commit", Story().released().bind("a", 0).gang("Committed").bind("b", 1)),
    "bound without a Gang object": ("bind-before-commit", Story().node().bind("a", 0)),
    "bound after an abort, on the commit of no epoch": (
        "bind-before-commit",
        Story().released().gang("Pending", "1-2").bind("a", 0).bind("b", 1),
    ),
    "a partial gang for too long": (
        "partial",
        Story().released().gang("Committed").bind("a", 0).wait(LIMIT + 1).bind("b", 1),
    ),
    "a partial gang at the end": ("partial-at-rest", Story().released().gang("Committed").bind("a", 0)),
    "a member deleted and the rest left running": (
        "partial",
        Story().running().pod("b", "DELETED", release=ticket(1), node="n1").wait(LIMIT + 1).gang("Running"),
    ),
    "a failed member and the rest left running": (
        "partial",
        Story().running().bind("b", 1, phase="Failed").wait(LIMIT + 1).gang("Running"),
    ),
    "a GPU given twice": (
        "gpu-twice",
        Story()
        .node(gpus=1)
        .pod("a", "ADDED", gang="", release=single("uid-a"), node="n1")
        .pod("b", "ADDED", gang="", release=single("uid-b"), node="n1"),
    ),
    "a GPU of a terminating pod given again": (
        "gpu-twice",
        Story()
        .node(gpus=1)
        .pod("a", "ADDED", gang="", release=single("uid-a"), node="n1")
        .pod("a", gang="", release=single("uid-a"), node="n1", deleting=True)
        .pod("b", "ADDED", gang="", release=single("uid-b"), node="n1"),
    ),
    "a GPU given twice outside the managed namespaces": (
        "gpu-twice",
        Story()
        .node(gpus=1)
        .pod("a", "ADDED", gang="", namespace="else", gates=[], node="n1")
        .pod("b", "ADDED", gang="", namespace="else", gates=[], node="n1"),
    ),
    "an abort that keeps its epoch": ("epoch", Story().released().gang("Pending", "1-1")),
    "an epoch that goes back": ("epoch", Story().released("2-3").gang("Pending", "2-2")),
    "an epoch of an older term": ("epoch", Story().released("2-3").gang("Pending", "1-4")),
    "an epoch that is no epoch": ("epoch", Story().released().gang("Pending", "next")),
    "a commit without a release": ("phase", Story().released().gang("Pending", "1-2").gang("Committed", "1-2")),
    "an abort after the commit": ("phase", Story().released().gang("Committed").gang("Pending", "1-2")),
    "an epoch committed twice": (
        "commit-twice",
        Story().released().gang("Committed").gang("Released").gang("Committed"),
    ),
    "a gang born committed": ("phase", Story().gang("Committed")),
    "an eviction that ends while a member is bound": (
        "return-while-bound",
        Story().running().gang("Evicting").gang("Pending", "1-2"),
    ),
    "an id that changes": ("identity", Story().gang("Pending").gang("Pending", identity="bbbb")),
    "bound without a ticket": (
        "unreleased",
        Story().node().pod("a", "ADDED", gang="", gates=[]).pod("a", gang="", gates=[], node="n1"),
    ),
    "bound to another node than the ticket's": (
        "wrong-node",
        Story().released().gang("Committed").bind("a", 0, node="n2").bind("b", 1),
    ),
    "bound to another node than the plan's": (
        "wrong-node",
        Story().released().gang("Committed").bind("a", 0, release=ticket(0, node="n2"), node="n2"),
    ),
    "bound with a ticket of an older epoch": (
        "wrong-ticket",
        Story().released().gang("Committed").bind("a", 0, release=ticket(0, epoch="1-0")),
    ),
    "bound with another pod's ticket": (
        "wrong-ticket",
        Story().node().bind("a", 0, gang="", release=single("uid-b")),
    ),
    "one slot for two pods": (
        "slot-twice",
        Story().released().gang("Committed").bind("a", 0).bind("b", 0),
    ),
    "one name for two pods": (
        "name-twice",
        Story().pod("a", "ADDED").pod("a", deleting=True).pod("a", "ADDED", uid="another"),
    ),
    "moved to another node": (
        "rebound",
        Story().running().pod("a", release=ticket(0), node="n2"),
    ),
    "released under a foreign gate": (
        "foreign-gate",
        Story().pod("a", "ADDED", gates=[f"{P}gang", "other"]).pod("a", gates=["other"], release=ticket()),
    ),
    "a foreign gate taken off with ours": (
        "foreign-gate",
        Story().pod("a", "ADDED", gates=[f"{P}gang", "other"]).pod("a", gates=[], release=ticket()),
    ),
    "a label changed by the release": (
        "foreign-field",
        Story().pod("a", "ADDED").pod("a", labels={"team": "x"}, release=ticket()),
    ),
    "slots held by nobody at rest": (
        "reserved-not-running",
        Story().released().gang("Committed", minimum=1).bind("a", 0),
    ),
    "a status that counts wrongly at rest": ("status-bound", Story().running().gang("Running", bound=1)),
}


@pytest.mark.parametrize("story", INNOCENT.values(), ids=INNOCENT.keys())
def test_an_innocent_history_is_acquitted(story: Story) -> None:
    verdict = story.verdict()
    assert verdict.violations == []
    assert verdict.exit_code == 0


@pytest.mark.parametrize(("rule", "story"), GUILTY.values(), ids=GUILTY.keys())
def test_a_breach_is_named(rule: str, story: Story) -> None:
    assert rule in story.rules()
    assert story.verdict().exit_code == 1


def test_versions_decide_not_the_order_of_arrival() -> None:
    """Pods and gangs come on two connections; the binding may arrive first."""
    story = Story().running()
    random.Random(7).shuffle(story.history)
    assert story.rules() == set()


def test_lost_events_are_never_a_clean_verdict() -> None:
    story = Story().running()
    story.history.append(Gap(event="GAP", version=0, seconds=1.0, resource="/api/v1/pods"))
    verdict = story.verdict()
    assert verdict.inconclusive == ["events of /api/v1/pods were lost"]
    assert verdict.exit_code == 2


def test_a_gap_in_which_nothing_has_changed_is_noted() -> None:
    story = Story().running()
    story.history.append(Gap(event="GAP", version=0, seconds=1.0, resource="/api/v1/pods", changed=False))
    verdict = story.verdict()
    assert verdict.exit_code == 0
    assert verdict.notes == ["/api/v1/pods was listed anew and had not changed"]


def test_an_end_in_motion_is_not_judged_as_rest() -> None:
    story = Story().released().gang("Committed").bind("a", 0)
    assert story.rules(at_rest=False) == set()


def test_the_longest_standstill_is_measured() -> None:
    story = Story().released().gang("Committed").bind("a", 0).wait(30).bind("b", 1)
    verdict = story.verdict()
    assert verdict.longest_partial_seconds == verdict.longest_standstill_seconds == 31.0
    assert verdict.counts == {"gangs": 1, "commits": 1, "bindings": 2, "bound": 2}
    assert verdict.gangs["ns/g"]["create_to_bound_seconds"] == 38.0


def test_a_history_is_judged_the_same_from_its_file(tmp_path: Path) -> None:
    story = Story().released().bind("a", 0)
    write_history(tmp_path / "history.jsonl", story.history)
    again = judge_history(read_history(tmp_path / "history.jsonl"), partial_limit=LIMIT, end=story.seconds)
    assert again == story.verdict()


@pytest.mark.parametrize("text", ["", "v1", "v2.a.1-1.0.n.mac", "v1.a.1-1.x.n.mac", "v1.a.1-1.0.n."])
def test_what_is_no_ticket_is_not_read_as_one(text: str) -> None:
    assert parse_ticket(text) is None


def test_a_node_name_with_dots_is_read_whole() -> None:
    read = parse_ticket("v1.aaaa.3-2.17.node.rack-1.example.mac")
    assert read is not None
    assert (read.gang, read.epoch, read.slot, read.node) == ("aaaa", "3-2", 17, "node.rack-1.example")
