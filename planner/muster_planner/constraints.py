"""Which nodes a member may go to at all, with exactly kube-scheduler's meaning of each field.

The numeric toleration operators Lt and Gt never match: kube-scheduler has them switched off by default, and a node
that it then refuses would be planned again and again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np

from muster_api.objects import NodeSelector, NodeSelectorTerm, Requirement, Toleration
from muster_planner.request import Constraints
from muster_planner.snapshot import Mask, NodeFacts, NodeTable, Snapshot

TaintName = tuple[str, str, str]
"""Key, value and effect."""

CONDITION_TAINTS: Final = "node.kubernetes.io/"
"""Prefix of the taints that Kubernetes sets and lifts by itself as a node's condition changes."""

UNSCHEDULABLE: Final[TaintName] = ("node.kubernetes.io/unschedulable", "", "NoSchedule")
_MOST_MASKS: Final = 4096
_WHOLE_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)


def eligible(snapshot: Snapshot, constraints: Constraints) -> Mask:
    """One flag per node, in the snapshot's order: matches, tolerated, Ready and not cordoned. Room is not looked at."""
    return _remembered(
        snapshot.nodes,
        f"eligible {constraints.signature}",
        lambda: lasting_match(snapshot.nodes, constraints) & available(snapshot.nodes, constraints.tolerations),
    )


def lasting_match(nodes: NodeTable, constraints: Constraints) -> Mask:
    """Nodes that match once they are in good health: labels, affinity and the taints that people set."""
    mask = selector_match(nodes, constraints.node_selector) & affinity_match(nodes, constraints)
    for taint in untolerated(nodes, constraints.tolerations):
        if not taint[0].startswith(CONDITION_TAINTS):
            mask &= ~nodes.hard_taints[taint]
    return mask


def available(nodes: NodeTable, tolerations: tuple[Toleration, ...]) -> Mask:
    """Nodes that take new members now: Ready, not cordoned, no condition taint, save for what is tolerated."""
    mask = _flags(nodes, lambda fact: fact.ready)
    if not tolerates(tolerations, UNSCHEDULABLE):
        mask &= ~cordoned(nodes)
    for taint in untolerated(nodes, tolerations):
        if taint[0].startswith(CONDITION_TAINTS):
            mask &= ~nodes.hard_taints[taint]
    return mask


def cordoned(nodes: NodeTable) -> Mask:
    """Nodes that somebody has marked unschedulable."""
    return _remembered(nodes, "cordoned", lambda: _flags(nodes, lambda fact: fact.cordoned))


def selector_match(nodes: NodeTable, selector: Mapping[str, str]) -> Mask:
    """Nodes that carry every one of these labels."""
    mask = np.ones(len(nodes), dtype=np.bool_)
    for label, value in selector.items():
        mask &= label_match(nodes, label, value)
    return mask


def label_match(nodes: NodeTable, label: str, value: str) -> Mask:
    """Nodes that carry this label with this value."""
    return _remembered(
        nodes, f"label {label}={value}", lambda: _flags(nodes, lambda fact: fact.labels.get(label) == value)
    )


def affinity_match(nodes: NodeTable, constraints: Constraints) -> Mask:
    """Nodes that match one term at least; all of them when no affinity is required."""
    affinity = constraints.affinity
    if affinity is None:
        return np.ones(len(nodes), dtype=np.bool_)
    return _remembered(nodes, f"affinity {constraints.signature}", lambda: _any_term(nodes, affinity))


def untolerated(nodes: NodeTable, tolerations: tuple[Toleration, ...]) -> list[TaintName]:
    """The taints of this cluster that keep such a member away, in a fixed order."""
    return [taint for taint in nodes.hard_taints if not tolerates(tolerations, taint)]


def tolerates(tolerations: Iterable[Toleration], taint: TaintName) -> bool:
    """Whether one of the tolerations covers the taint."""
    return any(_covers(toleration, *taint) for toleration in tolerations)


def _covers(toleration: Toleration, key: str, value: str, effect: str) -> bool:
    if toleration.effect and toleration.effect != effect:
        return False
    if toleration.key and toleration.key != key:
        return False
    if toleration.operator == "Exists":
        return True
    return toleration.operator in ("", "Equal") and toleration.value == value


def _any_term(nodes: NodeTable, affinity: NodeSelector) -> Mask:
    mask = np.zeros(len(nodes), dtype=np.bool_)
    for term in affinity.node_selector_terms:
        if not _is_usable(term):
            continue
        for row in _rows_named(nodes, term.match_fields):
            mask[row] |= all(_matches(requirement, nodes.facts[row].labels) for requirement in term.match_expressions)
    return mask


def _is_usable(term: NodeSelectorTerm) -> bool:
    """An empty term matches nothing, and so does one with a requirement that kube-scheduler cannot parse."""
    if not term.match_expressions and not term.match_fields:
        return False
    fields_parse = all(
        requirement.operator in ("In", "NotIn") and len(requirement.values) == 1 for requirement in term.match_fields
    )
    return fields_parse and all(_parses(requirement) for requirement in term.match_expressions)


def _parses(requirement: Requirement) -> bool:
    match requirement.operator:
        case "In" | "NotIn":
            return bool(requirement.values)
        case "Exists" | "DoesNotExist":
            return not requirement.values
        case "Gt" | "Lt":
            return len(requirement.values) == 1 and _whole(requirement.values[0]) is not None
        case _:
            return False


def _rows_named(nodes: NodeTable, fields: tuple[Requirement, ...]) -> Iterable[int]:
    """Rows that the term's fields allow; a pin to one node is answered without a look at the others."""
    rows: set[int] | None = None
    for requirement in fields:
        named = _row_of(nodes, requirement)
        wanted = named if requirement.operator == "In" else set(range(len(nodes))) - named
        rows = wanted if rows is None else rows & wanted
    return range(len(nodes)) if rows is None else sorted(rows)


def _row_of(nodes: NodeTable, requirement: Requirement) -> set[int]:
    row = nodes.index.get(requirement.values[0]) if requirement.key == "metadata.name" else None
    return set() if row is None else {row}


def _matches(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case _:
            return value is not None and _compares(requirement, value)


def _compares(requirement: Requirement, text: str) -> bool:
    value, bound = _whole(text), _whole(requirement.values[0])
    if value is None or bound is None:
        return False
    return value > bound if requirement.operator == "Gt" else value < bound


def _whole(text: str) -> int | None:
    """A signed 64-bit number as Go reads it, or None."""
    if not _WHOLE_NUMBER.fullmatch(text):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


def _flags(nodes: NodeTable, question: Callable[[NodeFacts], bool]) -> Mask:
    return np.fromiter((question(fact) for fact in nodes.facts), dtype=np.bool_, count=len(nodes))


def _remembered(nodes: NodeTable, name: str, work_out: Callable[[], Mask]) -> Mask:
    mask = nodes.masks.get(name)
    if mask is None:
        if len(nodes.masks) >= _MOST_MASKS:
            nodes.masks.clear()
        mask = work_out()
        mask.flags.writeable = False
        nodes.masks[name] = mask
    return mask
