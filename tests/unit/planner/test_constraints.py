"""Selectors, affinity, taints and health mean to the planner what they mean to kube-scheduler."""

from __future__ import annotations

import pytest

from bones.planning import cluster, constrained, planner_node
from muster_api.objects import NodeSelector, NodeSelectorTerm, Requirement, Taint, Toleration
from muster_planner.constraints import eligible
from muster_planner.request import Constraints

A100 = {"type": "a100", "cores": "96", "zone": "east"}
H100 = {"type": "h100", "cores": "128"}
BARE: dict[str, str] = {}
ODD = {"cores": "many"}


def need(key: str, operator: str, *values: str) -> Requirement:
    return Requirement(key=key, operator=operator, values=values)


def term(*expressions: Requirement, fields: tuple[Requirement, ...] = ()) -> NodeSelectorTerm:
    return NodeSelectorTerm(match_expressions=expressions, match_fields=fields)


def affinity(*terms: NodeSelectorTerm) -> Constraints:
    return constrained(affinity=NodeSelector(node_selector_terms=terms))


def open_nodes(constraints: Constraints) -> str:
    """Names of the open ones of four nodes a (a100), h (h100), n (no labels), o (an odd value)."""
    nodes = [planner_node(name, labels=labels) for name, labels in zip("ahno", (A100, H100, BARE, ODD), strict=True)]
    snapshot = cluster(nodes)
    mask = eligible(snapshot, constraints)
    return "".join(name for name, is_open in zip(snapshot.nodes.names, mask, strict=True) if is_open)


LABELS = [
    pytest.param(constrained(), "ahno", id="no constraint leaves every node open"),
    pytest.param(constrained({"type": "a100"}), "a", id="a selector wants the label with this value"),
    pytest.param(constrained({"type": "a100", "zone": "west"}), "", id="a selector wants all its labels"),
    pytest.param(affinity(term(need("type", "In", "a100", "h100"))), "ah", id="In takes any of its values"),
    pytest.param(affinity(term(need("type", "NotIn", "a100"))), "hno", id="NotIn takes nodes without the label too"),
    pytest.param(affinity(term(need("zone", "Exists"))), "a", id="Exists looks at the key alone"),
    pytest.param(affinity(term(need("zone", "DoesNotExist"))), "hno", id="DoesNotExist takes nodes without the key"),
    pytest.param(affinity(term(need("cores", "Gt", "96"))), "h", id="Gt is strict and numeric"),
    pytest.param(affinity(term(need("cores", "Lt", "128"))), "a", id="Lt is strict and skips what is no number"),
    pytest.param(affinity(term(need("cores", "Gt", "-1"))), "ah", id="Gt reads signs"),
    pytest.param(affinity(term(need("cores", "Gt", "9" * 19))), "", id="a number beyond 64 bits matches nothing"),
    pytest.param(affinity(term(need("cores", "Gt", "x"))), "", id="a bound that is no number matches nothing"),
    pytest.param(affinity(term(need("type", "In"))), "", id="In without values matches nothing"),
    pytest.param(affinity(term(need("type", "Exists", "x"))), "", id="Exists with values matches nothing"),
    pytest.param(affinity(term(need("type", "Near", "x"))), "", id="an unknown operator matches nothing"),
    pytest.param(affinity(term(need("type", "Exists"), need("zone", "Exists"))), "a", id="expressions are ANDed"),
    pytest.param(affinity(term(need("zone", "Exists")), term(need("type", "In", "h100"))), "ah", id="terms are ORed"),
    pytest.param(affinity(term()), "", id="an empty term matches nothing"),
    pytest.param(affinity(term(), term(need("zone", "Exists"))), "a", id="an empty term does not spoil the others"),
    pytest.param(affinity(), "", id="no term at all matches nothing"),
    pytest.param(affinity(term(fields=(need("metadata.name", "In", "h"),))), "h", id="a pin names one node"),
    pytest.param(affinity(term(fields=(need("metadata.name", "NotIn", "h"),))), "ano", id="a pin may exclude one"),
    pytest.param(affinity(term(fields=(need("metadata.name", "In", "h", "a"),))), "", id="a pin to two is not parsed"),
    pytest.param(affinity(term(fields=(need("metadata.name", "In", "x"),))), "", id="a pin to a stranger fails"),
    pytest.param(affinity(term(fields=(need("metadata.uid", "In", "h"),))), "", id="no other field is known"),
    pytest.param(
        affinity(term(need("zone", "Exists"), fields=(need("metadata.name", "In", "h"),))),
        "",
        id="pin and labels both",
    ),
    pytest.param(
        constrained({"type": "h100"}, NodeSelector(node_selector_terms=(term(need("zone", "Exists")),))),
        "",
        id="selector and affinity must both match",
    ),
]


@pytest.mark.parametrize(("constraints", "expected"), LABELS)
def test_labels_open_nodes(constraints: Constraints, expected: str) -> None:
    assert open_nodes(constraints) == expected


def taint(effect: str = "NoSchedule", key: str = "gpu", value: str = "yes") -> Taint:
    return Taint(key=key, value=value, effect=effect)


def tolerate(operator: str = "Equal", key: str = "gpu", value: str = "yes", effect: str = "") -> Toleration:
    return Toleration(key=key, operator=operator, value=value, effect=effect)


TAINTS = [
    pytest.param(taint(), None, False, id="an untolerated taint closes the node"),
    pytest.param(taint("NoExecute"), None, False, id="NoExecute closes it too"),
    pytest.param(taint("PreferNoSchedule"), None, True, id="a preference closes nothing"),
    pytest.param(taint(), tolerate(), True, id="Equal wants the same value"),
    pytest.param(taint(), tolerate(operator=""), True, id="no operator means Equal"),
    pytest.param(taint(), tolerate(value="no"), False, id="Equal refuses another value"),
    pytest.param(taint(), tolerate("Exists", value=""), True, id="Exists takes every value"),
    pytest.param(taint(), tolerate("Exists", key="", value=""), True, id="Exists without a key takes every taint"),
    pytest.param(taint(), tolerate(key="cpu"), False, id="another key does not help"),
    pytest.param(taint(), tolerate(effect="NoExecute"), False, id="another effect does not help"),
    pytest.param(taint("NoExecute"), tolerate(), True, id="no effect means every effect"),
    pytest.param(taint(value="5"), tolerate("Lt", value="9"), False, id="Lt is off as in kube-scheduler's defaults"),
]


@pytest.mark.parametrize(("mark", "toleration", "expected"), TAINTS)
def test_taints_close_nodes(mark: Taint, toleration: Toleration | None, expected: bool) -> None:
    snapshot = cluster([planner_node("a", taints=[mark])])
    tolerations = [toleration] if toleration else []
    assert eligible(snapshot, constrained(tolerations=tolerations)).tolist() == [expected]


def test_every_taint_of_a_node_must_be_tolerated() -> None:
    snapshot = cluster([planner_node("a", taints=[taint(), taint(key="spot")])])
    assert eligible(snapshot, constrained(tolerations=[tolerate()])).tolist() == [False]


def test_a_cordon_closes_a_node_save_for_who_tolerates_it() -> None:
    snapshot = cluster([planner_node("a", cordoned=True)])
    assert eligible(snapshot, constrained()).tolist() == [False]
    tolerant = constrained(tolerations=[tolerate("Exists", key="node.kubernetes.io/unschedulable", value="")])
    assert eligible(snapshot, tolerant).tolist() == [True]


def test_a_node_that_is_not_ready_is_closed_to_everyone() -> None:
    snapshot = cluster([planner_node("a", ready=False)])
    everything = constrained(tolerations=[tolerate("Exists", key="", value="")])
    assert eligible(snapshot, everything).tolist() == [False]


def test_a_mask_is_worked_out_once_per_node_table() -> None:
    snapshot = cluster([planner_node("a")])
    assert eligible(snapshot, constrained({"x": "y"})) is eligible(snapshot, constrained({"x": "y"}))
