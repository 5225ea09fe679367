"""Rules about one Gang object: its phases, its epochs, its identity."""

from __future__ import annotations

from judge.findings import Findings
from judge.records import GangRecord
from judge.world import COMMITTED, Incarnation, World, parse_epoch, parse_ticket, planned_slots

MOVES: dict[str, frozenset[str]] = {
    "Pending": frozenset({"Reserved", "Running", "Failed"}),
    "Reserved": frozenset({"Released", "Pending"}),
    "Released": frozenset({"Committed", "Pending"}),
    "Committed": frozenset({"Running", "Evicting", "Succeeded", "Failed"}),
    "Running": frozenset({"Evicting", "Succeeded", "Failed"}),
    "Evicting": frozenset({"Pending", "Failed"}),
    "Succeeded": frozenset(),
    "Failed": frozenset({"Pending"}),
}


def follow_gang(world: World, record: GangRecord, findings: Findings) -> None:
    """Take one event of a Gang into the world, and complain of what it must not have done."""
    key = (record.namespace, record.name)
    gang = world.gangs.get(key)
    if record.event == "DELETED":
        world.gangs.pop(key, None)
        return
    if gang is None or gang.last.uid != record.uid:
        gang = Incarnation(last=record)
        world.gangs[key] = world.gangs_seen[record.uid] = gang
        _begin(gang, record, findings)
        return
    before, gang.last = gang.last, record
    _check_identity(before, record, findings)
    _check_epoch(gang, before, record, findings)
    if before.phase != record.phase:
        _check_move(world, gang, before, record, findings)
    gang.slots = _slots(record, findings)


def _begin(gang: Incarnation, record: GangRecord, findings: Findings) -> None:
    gang.epochs.add(record.epoch)
    gang.slots = _slots(record, findings)
    if record.phase not in COMMITTED and record.phase != "Evicting":
        return
    gang.committed_epoch = record.epoch
    if record.event != "LISTED":
        findings.add("phase", _about(record), record.version, f"was born {record.phase}")


def _check_identity(before: GangRecord, after: GangRecord, findings: Findings) -> None:
    if before.identity and before.identity != after.identity:
        message = f"its id changed from {before.identity} to {after.identity!r}"
        findings.add("identity", _about(after), after.version, message)


def _check_epoch(gang: Incarnation, before: GangRecord, after: GangRecord, findings: Findings) -> None:
    if before.epoch == after.epoch:
        return
    old, new = parse_epoch(before.epoch), parse_epoch(after.epoch)
    if before.epoch and (new is None or (old is not None and new <= old)):
        message = f"epoch went from {before.epoch} to {after.epoch!r}"
        findings.add("epoch", _about(after), after.version, message)
    elif after.epoch in gang.epochs:
        findings.add("epoch", _about(after), after.version, f"epoch {after.epoch} is used again")
    gang.epochs.add(after.epoch)


def _check_move(world: World, gang: Incarnation, before: GangRecord, after: GangRecord, findings: Findings) -> None:
    source = before.phase or "Pending"
    if source != after.phase and after.phase not in MOVES.get(source, frozenset()):
        message = f"went from {source} to {after.phase}"
        findings.add("phase", _about(after), after.version, message)
    if after.phase == "Committed":
        gang.commits += 1
        gang.opened = after.message
        if gang.committed_epoch == after.epoch:
            message = f"epoch {after.epoch} was committed twice"
            findings.add("commit-twice", _about(after), after.version, message)
    if after.phase in COMMITTED:
        gang.committed_epoch = after.epoch
    if before.phase and after.phase == "Pending":
        _check_return(world, before, after, findings)


def _check_return(world: World, before: GangRecord, after: GangRecord, findings: Findings) -> None:
    """Back to Pending means a new epoch and nobody bound in the old one."""
    if before.epoch == after.epoch:
        message = f"left {before.phase} for Pending and kept epoch {after.epoch}"
        findings.add("epoch", _about(after), after.version, message)
    membership = world.memberships.get((after.namespace, after.name))
    for pod in membership.pods.values() if membership else ():
        ticket = parse_ticket(pod.release)
        if pod.node and ticket and (ticket.gang, ticket.epoch) == (before.identity, before.epoch):
            message = f"went back to Pending while {pod.name} of epoch {before.epoch} is still bound"
            findings.add("return-while-bound", _about(after), after.version, message)


def _slots(record: GangRecord, findings: Findings) -> dict[int, str]:
    try:
        return planned_slots(record.plan)
    except ValueError:
        findings.add("plan", _about(record), record.version, f"unreadable plan {record.plan}")
        return {}


def _about(record: GangRecord) -> str:
    return f"gang {record.namespace}/{record.name}"
