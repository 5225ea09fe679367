"""What members of each shape ask for and where they may go, known for as long as a pod of that shape exists."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from muster_api.membership import demand
from muster_api.objects import Pod
from muster_planner.request import Constraints, constraints_of


@dataclass(frozen=True, slots=True)
class Shape:
    """What members of one shape ask for and where they may go."""

    demand: dict[str, int]
    constraints: Constraints


class Shapes(dict[str, Shape]):
    """By the hash that plans carry. Pods are counted: whoever may create pods could fill the memory otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self._pods: Counter[str] = Counter()

    def enter(self, shape: str, pod: Pod) -> bool:
        """One pod more; whether the shape was not known before. Raises QuantityError."""
        is_new = shape not in self
        if is_new:
            self[shape] = Shape(demand(pod), constraints_of(pod))
        self._pods[shape] += 1
        return is_new

    def leave(self, shape: str) -> None:
        """One pod less; the last one takes the shape with it."""
        self._pods[shape] -= 1
        if not self._pods[shape]:
            del self._pods[shape], self[shape]
