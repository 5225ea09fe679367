"""Disruption budgets, looked at before the first eviction: a gang comes down whole or stays whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from muster_api.objects import KubernetesStruct, ObjectMeta
from muster_kube.resources import ResourcePath
from muster_kube.writer import Writer

BUDGETS: Final = ResourcePath("policy", "v1", "poddisruptionbudgets")

Labels = Mapping[str, str]


class Requirement(KubernetesStruct, frozen=True, kw_only=True):
    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()

    def matches(self, labels: Labels) -> bool:
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "DoesNotExist":
                return self.key not in labels
            case _:
                return self.key in labels


class Selector(KubernetesStruct, frozen=True, kw_only=True):
    match_labels: dict[str, str] = msgspec.field(default_factory=dict)
    match_expressions: tuple[Requirement, ...] = ()

    def matches(self, labels: Labels) -> bool:
        return self.match_labels.items() <= labels.items() and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )


class BudgetSpec(KubernetesStruct, frozen=True, kw_only=True):
    selector: Selector | None = None


class BudgetStatus(KubernetesStruct, frozen=True, kw_only=True):
    disruptions_allowed: int = 0


class Budget(KubernetesStruct, frozen=True, kw_only=True):
    """A PodDisruptionBudget, as far as evicting several pods at once depends on it."""

    metadata: ObjectMeta = ObjectMeta()
    spec: BudgetSpec = BudgetSpec()
    status: BudgetStatus = BudgetStatus()

    def covers(self, labels: Labels) -> bool:
        return self.spec.selector is not None and self.spec.selector.matches(labels)


class BudgetList(KubernetesStruct, frozen=True, kw_only=True):
    items: tuple[Budget, ...] = ()


async def read_budgets(reader: Writer, namespace: str) -> tuple[Budget, ...]:
    """All of a namespace, as the API server has them now."""
    return (await reader.get(BUDGETS.in_namespace(namespace).collection, BudgetList)).items


def why_held_up(budgets: Iterable[Budget], running: Sequence[Labels]) -> str:
    """Why these pods cannot all be evicted now; empty when they can.

    Each eviction uses up one of the allowed disruptions, so asking about one pod at a time would not tell.
    """
    for budget in budgets:
        covered = sum(budget.covers(labels) for labels in running)
        if covered > budget.status.disruptions_allowed:
            return (
                f"disruption budget {budget.metadata.name} allows {budget.status.disruptions_allowed} disruptions now, "
                f"and {covered} members would have to go"
            )
    return ""
