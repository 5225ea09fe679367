"""Rules about rest: how long a gang may stand bound in part, and that what is reserved is what runs."""

from __future__ import annotations

from judge.findings import Findings
from judge.records import FINISHED
from judge.world import COMMITTED, Incarnation, Membership, World, parse_ticket

Key = tuple[str, str]


def note_partial(world: World, key: Key, seconds: float, findings: Findings, limit: float) -> None:
    """Follow 0 < bound < minimum of one gang from event to event."""
    membership = world.memberships.get(key)
    if membership is None:
        return
    minimum = membership.minimum(world.gangs.get(key))
    if minimum and membership.counted >= minimum and membership.whole_seconds is None:
        membership.whole_seconds = seconds
    partial = membership.live > 0 and membership.counted + membership.finished < minimum
    if partial and membership.partial_since is None:
        membership.partial_since = membership.still_since = seconds
        membership.still_at = membership.counted
    elif not partial and membership.partial_since is not None:
        _end_partial(key, membership, seconds, findings, limit)
    if partial and membership.counted != membership.still_at:
        _note_standstill(membership, seconds)


def close_partial(world: World, key: Key, end: float, findings: Findings, limit: float, *, at_rest: bool) -> None:
    """What is still partial when the watching ends is judged as it stands."""
    membership = world.memberships[key]
    if membership.partial_since is None:
        return
    counted = membership.counted
    keeps = membership.keeps_broken()
    _end_partial(key, membership, end, findings, limit)
    if at_rest and not keeps:
        findings.add("partial-at-rest", f"gang {key[0]}/{key[1]}", 0, f"{counted} bound at the end, too few")


def judge_rest(world: World, findings: Findings) -> None:
    """At rest every slot that a gang holds is a slot in which a pod runs, and its status tells the truth."""
    for gang in world.gangs.values():
        if gang.last.phase in COMMITTED:
            _judge_running(world, gang, findings)


def _judge_running(world: World, gang: Incarnation, findings: Findings) -> None:
    record = gang.last
    about = f"gang {record.namespace}/{record.name}"
    membership = world.memberships.get((record.namespace, record.name), Membership())
    pods = [pod for pod in membership.pods.values() if pod.node and pod.phase not in FINISHED]
    running: dict[int, str] = {}
    for pod in pods:
        ticket = parse_ticket(pod.release)
        if ticket is not None and (ticket.gang, ticket.epoch) == (record.identity, record.epoch):
            running[ticket.slot] = pod.node
    taken = {slot for epoch, slot in gang.taken if epoch == record.epoch} | running.keys()
    idle = sorted(gang.slots.keys() - taken)
    if idle:
        findings.add("reserved-not-running", about, record.version, f"slots {idle[:10]} are held by nobody")
    lost = sorted(running.keys() - gang.slots.keys())
    if lost:
        findings.add("running-not-reserved", about, record.version, f"slots {lost[:10]} are not in the plan")
    settled = record.phase == "Running" and record.bound is not None
    if settled and not any(pod.deleting for pod in pods) and record.bound != len(pods):
        message = f"status.bound says {record.bound}, {len(pods)} are"
        findings.add("status-bound", about, record.version, message)


def _end_partial(key: Key, membership: Membership, seconds: float, findings: Findings, limit: float) -> None:
    assert membership.partial_since is not None
    lasted = seconds - membership.partial_since
    membership.longest_partial = max(membership.longest_partial, lasted)
    _note_standstill(membership, seconds)
    membership.partial_since = None
    if lasted > limit and not membership.keeps_broken():
        message = f"0 < bound < minimum lasted {lasted:.1f} s, more than {limit:.0f} s"
        findings.add("partial", f"gang {key[0]}/{key[1]}", 0, message)


def _note_standstill(membership: Membership, seconds: float) -> None:
    membership.longest_standstill = max(membership.longest_standstill, seconds - membership.still_since)
    membership.still_since, membership.still_at = seconds, membership.counted
