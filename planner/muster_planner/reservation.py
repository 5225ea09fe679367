"""What a plan decides: which gang gets how many places on which nodes, and why the others wait."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from muster_api.reasons import Reason
from muster_planner.request import GangKey


@dataclass(frozen=True, slots=True)
class NodeRun:
    """So many members of one group on one node."""

    node: str
    count: int


@dataclass(frozen=True, slots=True)
class GroupPlacement:
    """Where the members of one group go; `amounts` is what each of them takes."""

    shape: str
    amounts: tuple[tuple[str, int], ...]
    runs: tuple[NodeRun, ...]

    @property
    def members(self) -> int:
        return sum(run.count for run in self.runs)


@dataclass(frozen=True, slots=True)
class Reservation:
    """Room for a whole gang, or for as much of an elastic one as fits; groups in the order of the request."""

    key: GangKey
    uid: str
    groups: tuple[GroupPlacement, ...]

    @property
    def members(self) -> int:
        return sum(group.members for group in self.groups)

    def places(self) -> Iterator[tuple[str, str]]:
        """(shape, node) of each member, one by one, in the order in which slots are to be numbered."""
        for group in self.groups:
            for run in group.runs:
                for _ in range(run.count):
                    yield group.shape, run.node


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a gang was not placed; `permanent` means that time alone will not help."""

    key: GangKey
    uid: str
    reason: Reason
    message: str
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """One planning cycle's decisions, in the order of the gangs; `retry_at` is when waiting alone changes something."""

    reservations: tuple[Reservation, ...] = ()
    explanations: tuple[Explanation, ...] = ()
    evictions: tuple[GangKey, ...] = ()
    requeues: tuple[GangKey, ...] = ()
    retry_at: float | None = None
