"""Saying which constraint leaves a member without any node."""

from __future__ import annotations

import numpy as np

from muster_api.reasons import Reason
from muster_planner.constraints import (
    CONDITION_TAINTS,
    TaintName,
    affinity_match,
    available,
    cordoned,
    eligible,
    label_match,
    lasting_match,
    selector_match,
    untolerated,
)
from muster_planner.placement import usable
from muster_planner.request import Constraints, GangRequest, MemberGroup
from muster_planner.snapshot import Mask, NodeTable, Snapshot
from muster_planner.verdict import Verdict
from muster_planner.wording import affinity_text, nodes_text, selector_text


def explain_no_match(snapshot: Snapshot, request: GangRequest, group: MemberGroup, now: float) -> Verdict | None:
    """Why no node at all is open to the members of a group; None when one is."""
    nodes, constraints = snapshot.nodes, group.constraints
    if usable(snapshot, request, group, now).any():
        return None
    matching = int(eligible(snapshot, constraints).sum())
    if matching:
        message = f"{_match(matching)} but left out for now because earlier attempts failed there"
        return Verdict(Reason.BACKING_OFF, message)
    if lasting_match(nodes, constraints).any():
        return Verdict(Reason.NO_MATCHING_NODE, _unavailable(nodes, constraints))
    return Verdict(Reason.NO_MATCHING_NODE, f"no node matches: {_obstacle(nodes, constraints)}", permanent=True)


def _match(count: int) -> str:
    return f"{nodes_text(count)} {'matches' if count == 1 else 'match'}"


def _unavailable(nodes: NodeTable, constraints: Constraints) -> str:
    """Matching nodes in bad health, by what keeps members away from them."""
    mask = lasting_match(nodes, constraints)
    causes = _causes(nodes, constraints, mask)
    named = ", ".join(f"{count} {cause}" for cause, count in causes)
    are = "is" if int(mask.sum()) == 1 else "are"
    return f"{_match(int(mask.sum()))} but {are} cordoned or not ready ({named})"


def _causes(nodes: NodeTable, constraints: Constraints, mask: Mask) -> list[tuple[str, int]]:
    """Each node counts once, under the first cause that applies."""
    ready = np.array([fact.ready for fact in nodes.facts], dtype=np.bool_)
    left = mask & ~available(nodes, constraints.tolerations)
    causes = [("cordoned", cordoned(nodes)), ("not ready", ~ready)]
    for taint in untolerated(nodes, constraints.tolerations):
        if taint[0].startswith(CONDITION_TAINTS):
            causes.append((f"with taint {_taint_text(taint)}", nodes.hard_taints[taint]))
    found = []
    for cause, carriers in causes:
        if count := int((left & carriers).sum()):
            found.append((cause, count))
            left = left & ~carriers
    return found


def _obstacle(nodes: NodeTable, constraints: Constraints) -> str:
    """The first of selector, affinity and taints that leaves nothing of what those before it left."""
    total = nodes_text(len(nodes))
    if not len(nodes):
        return "the cluster has no nodes"
    selected = selector_match(nodes, constraints.node_selector)
    if not selected.any():
        return f"nodeSelector {selector_text(_unmatched(nodes, constraints))} matches 0 of {total}"
    attracted = affinity_match(nodes, constraints)
    if constraints.affinity is not None and not (selected & attracted).any():
        left = f"the {nodes_text(int(selected.sum()))} that nodeSelector leaves" if constraints.node_selector else total
        return f"required node affinity {affinity_text(constraints.affinity)} matches 0 of {left}"
    return _taints(nodes, constraints, selected & attracted)


def _unmatched(nodes: NodeTable, constraints: Constraints) -> dict[str, str]:
    """The labels that no node carries, or all of them when each is there but never together."""
    selector = dict(constraints.node_selector)
    missing = {label: value for label, value in selector.items() if not label_match(nodes, label, value).any()}
    return missing or selector


def _taints(nodes: NodeTable, constraints: Constraints, mask: Mask) -> str:
    """The untolerated taint on most of the nodes, and on how many."""
    counts = [
        (-int((mask & nodes.hard_taints[taint]).sum()), taint)
        for taint in untolerated(nodes, constraints.tolerations)
        if not taint[0].startswith(CONDITION_TAINTS)
    ]
    count, worst = min(counts)
    others = f", other taints on the rest of {int(mask.sum())}" if -count < int(mask.sum()) else ""
    return f"taint {_taint_text(worst)} is not tolerated on {-count}{others}"


def _taint_text(taint: TaintName) -> str:
    key, value, effect = taint
    return f"{key}={value}:{effect}" if value else f"{key}:{effect}"
