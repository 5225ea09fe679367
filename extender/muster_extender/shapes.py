"""What pods of each shape ask for, known for as long as a pod or a plan of that shape is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

Demand = dict[str, int] | None


class Shapes:
    """Demands by shape, and the gangs whose plans name a shape that no pod has shown yet."""

    def __init__(self) -> None:
        self._demands: dict[str, Demand] = {}
        self._uses: Counter[str] = Counter()
        self._waiting: dict[str, set[str]] = {}

    def demand(self, shape: str) -> Demand:
        """None where it is not known."""
        return self._demands.get(shape)

    def show(self, shape: str, demand: Demand) -> set[str]:
        """A pod of this shape is there; the gangs that have been waiting to hear what it asks for."""
        if not shape:
            return set()
        self._uses[shape] += 1
        if shape in self._demands:
            return set()
        self._demands[shape] = demand
        return self._waiting.pop(shape, set())

    def plan(self, gang: str, shapes: Iterable[str]) -> None:
        """A gang's plan names these shapes, each of them once."""
        for shape in shapes:
            self._uses[shape] += 1
            if shape not in self._demands:
                self._waiting.setdefault(shape, set()).add(gang)

    def unplan(self, gang: str, shapes: Iterable[str]) -> None:
        """It names them no more."""
        for shape in shapes:
            self.hide(shape)
            waiting = self._waiting.get(shape, set())
            waiting.discard(gang)
            if not waiting:
                self._waiting.pop(shape, None)

    def hide(self, shape: str) -> None:
        """One pod or plan less."""
        if not shape:
            return
        self._uses[shape] -= 1
        if not self._uses[shape]:
            del self._uses[shape]
            self._demands.pop(shape, None)
