"""Judges a history: replays it in resourceVersion order and names every breach of the release protocol."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from judge.findings import Findings, Violation
from judge.gang_rules import follow_gang
from judge.pod_rules import follow_pod
from judge.records import GangRecord, Gap, History, NamespaceRecord, NodeRecord, PodRecord
from judge.rest_rules import close_partial, judge_rest, note_partial
from judge.world import World


@dataclass
class Verdict:
    violations: list[Violation]
    inconclusive: list[str]
    notes: list[str]
    counts: dict[str, int]
    longest_partial_seconds: float
    longest_standstill_seconds: float
    gangs: dict[str, dict[str, Any]]

    @property
    def exit_code(self) -> int:
        """1 for a violation; 2 for a history with holes, which proves nothing."""
        return 1 if self.violations else 2 if self.inconclusive else 0


def judge_history(
    history: Iterable[History], *, partial_limit: float, end: float | None = None, at_rest: bool = True
) -> Verdict:
    """Replay and judge; `partial_limit` is how long 0 < bound < minimum may last, `end` when watching ended."""
    records = list(history)
    gaps = [record for record in records if isinstance(record, Gap)]
    ordered = sorted((record for record in records if not isinstance(record, Gap)), key=_order)
    world, findings = World(), Findings()
    for record in ordered:
        _follow(world, record, findings, partial_limit)
    last = end if end is not None else max((record.seconds for record in ordered), default=0.0)
    for key in world.memberships:
        close_partial(world, key, last, findings, partial_limit, at_rest=at_rest)
    if at_rest:
        judge_rest(world, findings)
    return _verdict(world, findings, gaps)


def _order(record: History) -> tuple[int, int]:
    """What a LIST found stands before what its watch brought, whatever the objects' own versions are."""
    return (record.version, 0 if record.event == "LISTED" else 1)


def _follow(world: World, record: History, findings: Findings, partial_limit: float) -> None:
    match record:
        case NamespaceRecord():
            world.managed[record.name] = record.managed and record.event != "DELETED"
        case NodeRecord() if record.event == "DELETED":
            world.allocatable.pop(record.name, None)
        case NodeRecord():
            world.allocatable[record.name] = record.gpus
        case GangRecord():
            follow_gang(world, record, findings)
            note_partial(world, (record.namespace, record.name), record.seconds, findings, partial_limit)
        case PodRecord():
            follow_pod(world, record, findings)
            if record.gang:
                note_partial(world, (record.namespace, record.gang_name), record.seconds, findings, partial_limit)
        case _:
            raise TypeError(f"nobody judges {record!r}")


def _verdict(world: World, findings: Findings, gaps: list[Gap]) -> Verdict:
    memberships = world.memberships.values()
    return Verdict(
        violations=findings.violations,
        inconclusive=[f"events of {gap.resource} were lost" for gap in gaps if gap.changed],
        notes=[f"{gap.resource} was listed anew and had not changed" for gap in gaps if not gap.changed],
        counts={
            "gangs": len(world.gangs_seen),
            "commits": sum(gang.commits for gang in world.gangs_seen.values()),
            "bindings": world.bindings,
            "bound": sum(1 for pod in world.pods.values() if pod.node),
        },
        longest_partial_seconds=round(max((one.longest_partial for one in memberships), default=0.0), 3),
        longest_standstill_seconds=round(max((one.longest_standstill for one in memberships), default=0.0), 3),
        gangs={f"{key[0]}/{key[1].removeprefix('pods-')}": _summary(world, key) for key in world.memberships},
    )


def _summary(world: World, key: tuple[str, str]) -> dict[str, Any]:
    membership = world.memberships[key]
    gangs = [gang for gang in world.gangs_seen.values() if (gang.last.namespace, gang.last.name) == key]
    first, whole = membership.first_seconds, membership.whole_seconds
    return {
        "commits": sum(gang.commits for gang in gangs),
        "opened": gangs[-1].opened if gangs else "",
        "bound": membership.counted,
        "create_to_bound_seconds": round(whole - first, 3) if first is not None and whole is not None else None,
        "longest_partial_seconds": round(membership.longest_partial, 3),
        "longest_standstill_seconds": round(membership.longest_standstill, 3),
    }
