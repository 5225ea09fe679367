"""A second opinion on plans, naive and without numpy: it counts by hand and reads constraints as documented."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from muster_api.objects import Node, NodeSelectorTerm, Requirement, Taint, Toleration
from muster_api.quantities import resource_units
from muster_planner.request import Constraints, GangRequest
from muster_planner.reservation import Plan, Reservation


def may_run_on(node: Node, constraints: Constraints) -> bool:
    labels = node.metadata.labels
    if any(labels.get(key) != value for key, value in constraints.node_selector.items()):
        return False
    affinity = constraints.affinity
    if affinity is not None and not any(_term_holds(node, term) for term in affinity.node_selector_terms):
        return False
    taints = list(node.spec.taints)
    if node.spec.unschedulable:
        taints.append(Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule"))
    hard = [taint for taint in taints if taint.effect != "PreferNoSchedule"]
    return node.is_ready and all(any(_tolerates(t, taint) for t in constraints.tolerations) for taint in hard)


def complaints(
    nodes: Sequence[Node], used: Mapping[str, Mapping[str, int]], requests: Iterable[GangRequest], plan: Plan
) -> list[str]:
    """Everything wrong with a plan, in words; empty when it is sound."""
    wanted = {request.key: request for request in requests}
    by_name = {node.metadata.name: node for node in nodes}
    found = [text for r in plan.reservations for text in _gang_complaints(by_name, wanted[r.key], r)]
    answered = [r.key for r in plan.reservations] + [e.key for e in plan.explanations]
    if sorted(answered) != sorted(wanted):
        found.append("not every gang got exactly one answer")
    return found + _room_complaints(by_name, used, plan)


def _gang_complaints(nodes: Mapping[str, Node], request: GangRequest, reservation: Reservation) -> list[str]:
    found = []
    if not request.minimum <= reservation.members <= request.members:
        found.append(f"{request.key}: {reservation.members} of {request.minimum} to {request.members} members")
    groups = {group.shape: group for group in request.groups}
    for placement in reservation.groups:
        group = groups[placement.shape]
        if placement.members > group.count:
            found.append(f"{request.key}: too many of shape {group.shape}")
        for run in placement.runs:
            if not may_run_on(nodes[run.node], group.constraints):
                found.append(f"{request.key}: {run.node} is not open to shape {group.shape}")
    return found


def _room_complaints(nodes: Mapping[str, Node], used: Mapping[str, Mapping[str, int]], plan: Plan) -> list[str]:
    taken: dict[tuple[str, str], int] = {}
    for reservation in plan.reservations:
        for placement in reservation.groups:
            for run in placement.runs:
                for resource, each in placement.amounts:
                    taken[run.node, resource] = taken.get((run.node, resource), 0) + each * run.count
    found = []
    for (name, resource), amount in taken.items():
        offered = resource_units(resource, nodes[name].status.allocatable.get(resource, "0"))
        if amount + used.get(name, {}).get(resource, 0) > offered:
            found.append(f"{name} has too little {resource}")
    return found


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    effect = toleration.effect in ("", taint.effect)
    key = toleration.key in ("", taint.key)
    value = toleration.operator == "Exists" or toleration.value == taint.value
    return effect and key and value


def _term_holds(node: Node, term: NodeSelectorTerm) -> bool:
    if not (term.match_expressions or term.match_fields):
        return False
    named = {"metadata.name": node.metadata.name}
    return all(_holds(named, r) for r in term.match_fields) and all(
        _holds(node.metadata.labels, r) for r in term.match_expressions
    )


def _holds(labels: Mapping[str, str], requirement: Requirement) -> bool:
    there = requirement.key in labels
    value = labels.get(requirement.key, "")
    if requirement.operator in ("In", "NotIn"):
        return (there and value in requirement.values) == (requirement.operator == "In")
    if requirement.operator in ("Exists", "DoesNotExist"):
        return there == (requirement.operator == "Exists")
    if not there or not value.lstrip("-").isdigit():
        return False
    bound = int(requirement.values[0])
    return int(value) > bound if requirement.operator == "Gt" else int(value) < bound
