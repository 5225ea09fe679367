"""Rules about one pod: when it may be bound, where to, and what a release may touch."""

from __future__ import annotations

from judge.findings import Findings
from judge.records import GATE, PodRecord
from judge.world import Incarnation, Membership, Ticket, World, parse_ticket


def follow_pod(world: World, record: PodRecord, findings: Findings) -> None:
    """Take one event of a pod into the world, and complain of what it must not have done."""
    before = world.pods.get(record.uid)
    gone = record.event == "DELETED"
    world.settle_gpus(before, None if gone else record)
    _remember(world, before, record, gone=gone)
    _check_name(world, record, findings, gone=gone)
    if gone:
        return
    if before is not None:
        _check_release(before, record, findings)
        if before.node and before.node != record.node:
            message = f"its node changed from {before.node} to {record.node!r}"
            findings.add("rebound", _about(record), record.version, message)
    if record.node and (before is None or not before.node):
        _follow_binding(world, record, findings)


def _remember(world: World, before: PodRecord | None, record: PodRecord, *, gone: bool) -> None:
    if gone:
        world.pods.pop(record.uid, None)
    else:
        world.pods[record.uid] = record
    if not record.gang:
        return
    membership = world.memberships.setdefault((record.namespace, record.gang_name), Membership())
    membership.take(before, record, gone=gone)


def _check_name(world: World, record: PodRecord, findings: Findings, *, gone: bool) -> None:
    """Whoever finds its peers by name must never meet a pod of an earlier try."""
    name = (record.namespace, record.name)
    holder = world.names.get(name, record.uid)
    if gone and holder == record.uid:
        world.names.pop(name, None)
    if gone:
        return
    if holder != record.uid:
        findings.add("name-twice", _about(record), record.version, f"its name is still that of the pod {holder}")
    world.names[name] = record.uid


def _follow_binding(world: World, pod: PodRecord, findings: Findings) -> None:
    world.bindings += pod.event != "LISTED"
    _check_gpus(world, pod, findings)
    if pod.event == "LISTED" or not pod.asks or pod.mirror or not world.managed.get(pod.namespace):
        return
    if pod.gang:
        _check_commit(world.gang_of(pod), pod, findings)
    ticket = parse_ticket(pod.release)
    if ticket is None:
        message = f"bound to {pod.node} without a release (annotation {pod.release!r})"
        findings.add("unreleased", _about(pod), pod.version, message)
        return
    if ticket.node != pod.node:
        message = f"bound to {pod.node}, released for {ticket.node}"
        findings.add("wrong-node", _about(pod), pod.version, message)
    gang = world.gang_of(pod)
    if gang is not None:
        _check_slot(gang, pod, ticket, findings)
    elif not pod.gang and ticket.gang != f"pod-{pod.uid}":
        message = f"bound with the ticket of {ticket.gang}"
        findings.add("wrong-ticket", _about(pod), pod.version, message)


def _check_commit(gang: Incarnation | None, pod: PodRecord, findings: Findings) -> None:
    """The Gang as it stood before this binding decides, not the one of today."""
    if gang is None:
        findings.add("bind-before-commit", _about(pod), pod.version, "bound without a Gang object")
    elif not gang.may_bind:
        message = f"bound while its gang is {gang.last.phase}, epoch {gang.last.epoch} was never committed"
        findings.add("bind-before-commit", _about(pod), pod.version, message)


def _check_slot(gang: Incarnation, pod: PodRecord, ticket: Ticket, findings: Findings) -> None:
    if (ticket.gang, ticket.epoch) != (gang.last.identity, gang.last.epoch):
        message = (
            f"bound with a ticket of {ticket.gang} epoch {ticket.epoch}, "
            f"its gang is {gang.last.identity} epoch {gang.last.epoch}"
        )
        findings.add("wrong-ticket", _about(pod), pod.version, message)
    elif gang.slots.get(ticket.slot) != pod.node:
        message = f"the plan gives slot {ticket.slot} the node {gang.slots.get(ticket.slot)}, not {pod.node}"
        findings.add("wrong-node", _about(pod), pod.version, message)
    other = gang.taken.setdefault((ticket.epoch, ticket.slot), pod.uid)
    if other != pod.uid:
        message = f"slot {ticket.slot} of epoch {ticket.epoch} was taken before"
        findings.add("slot-twice", _about(pod), pod.version, message)


def _check_gpus(world: World, pod: PodRecord, findings: Findings) -> None:
    room = world.allocatable.get(pod.node)
    held = world.held.get(pod.node, 0)
    if room is not None and pod.gpus and pod.event != "LISTED" and held > room:
        message = f"{pod.node} has {room} GPUs and now gives {held}"
        findings.add("gpu-twice", _about(pod), pod.version, message)


def _check_release(before: PodRecord, after: PodRecord, findings: Findings) -> None:
    """A release takes our gate off and writes the ticket; it waits for foreign gates and touches nothing else."""
    opened = GATE in before.gates and GATE not in after.gates
    ticketed = bool(after.release) and before.release != after.release
    if not opened and not ticketed:
        return
    foreign = [gate for gate in before.gates if gate != GATE]
    if foreign and ticketed:
        message = f"released while the foreign gates {', '.join(foreign)} stood"
        findings.add("foreign-gate", _about(after), after.version, message)
    if before.digest != after.digest:
        message = "the release changed labels, annotations, gates or fields that are not Muster's"
        findings.add("foreign-field", _about(after), after.version, message)


def _about(record: PodRecord) -> str:
    return f"pod {record.namespace}/{record.name}"
