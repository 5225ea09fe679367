"""Amounts and constraints in the words of messages; the same input gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from muster_api.names import GPU_RESOURCE
from muster_api.objects import NodeSelector, NodeSelectorTerm, Requirement

_BYTES: Final = ("memory", "ephemeral-storage", "storage")
_UNITS: Final = ((2**40, "Ti"), (2**30, "Gi"), (2**20, "Mi"), (2**10, "Ki"))
_LONGEST: Final = 160


def number(resource: str, units: int) -> str:
    """An amount without its resource: 1.5 of cpu, 64Gi of memory, 8 of GPUs."""
    if resource == "cpu":
        return _decimal(units, 1000)
    if resource in _BYTES or resource.startswith("hugepages-"):
        for size, suffix in _UNITS:
            if abs(units) >= size:
                return f"{_decimal(units, size)}{suffix}"
    return str(units)


def amount(resource: str, units: int) -> str:
    """An amount with its resource: 4 nvidia.com/gpu."""
    return f"{number(resource, units)} {resource}"


def asked_for(amounts: Iterable[tuple[str, int]], always: str = "") -> str:
    """What a member asks for, in words; its own place on a node only where that is the point."""
    named = sorted((resource for resource in amounts if resource[0] != "pods" or always == "pods"), key=_rank)
    return _listed([amount(resource, units) for resource, units in named]) or "a place"


def rank(resource: str) -> tuple[int, str]:
    """In which order resources are named and, as scarce as another, blamed: GPUs, cpu, memory, the rest."""
    known = {GPU_RESOURCE: 0, "cpu": 2, "memory": 3, "pods": 5}
    return known.get(resource, 1 if "/" in resource else 4), resource


def selector_text(selector: Mapping[str, str]) -> str:
    """A nodeSelector as people write it."""
    return _shortened(",".join(f"{label}={value}" for label, value in sorted(selector.items())))


def affinity_text(affinity: NodeSelector) -> str:
    """A required node affinity: its terms, any of which is enough."""
    return _shortened(" or ".join(_term_text(term) for term in affinity.node_selector_terms) or "no term")


def nodes_text(count: int) -> str:
    """So many nodes."""
    return "1 node" if count == 1 else f"{count} nodes"


def members_text(count: int) -> str:
    """So many members."""
    return "1 member" if count == 1 else f"{count} members"


def _term_text(term: NodeSelectorTerm) -> str:
    requirements = [_requirement_text(requirement) for requirement in (*term.match_fields, *term.match_expressions)]
    return " and ".join(requirements) or "an empty term"


def _requirement_text(requirement: Requirement) -> str:
    if not requirement.values:
        return f"{requirement.key} {requirement.operator}"
    return f"{requirement.key} {requirement.operator} [{','.join(requirement.values)}]"


def _decimal(units: int, size: int) -> str:
    """Units over size with at most three digits behind the point."""
    thousandths = (units * 1000 + size // 2) // size
    whole, rest = divmod(thousandths, 1000)
    return f"{whole}.{rest:03d}".rstrip("0").rstrip(".")


def _rank(item: tuple[str, int]) -> tuple[int, str]:
    return rank(item[0])


def _listed(words: list[str]) -> str:
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
