"""What the planner is asked to place: gangs, as groups of members that are alike."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import msgspec

from muster_api.membership import demand as demand_of
from muster_api.membership import shape_of, unpinned_affinity
from muster_api.names import BIND_MARKER, MEMBER_MARKER
from muster_api.objects import NodeSelector, Pod, Toleration
from muster_planner.limits import Charge
from muster_planner.policy import Strategy
from muster_planner.retry import NOTHING_LEARNT, Lesson

GangKey: TypeAlias = tuple[str, str]
"""Namespace and name of the Gang object (of the pod, for a single pod)."""

MOST_ASKED: Final = 2**51
"""More than any node offers, and small enough that no sum or product of the planner's tables overflows."""

IGNORED_RESOURCES: Final = frozenset({MEMBER_MARKER, BIND_MARKER})
"""Requested only so that the scheduler asks the extender; no node offers them and none needs to."""


@dataclass(frozen=True, slots=True)
class Constraints:
    """Where a member may go; compared and hashed by `signature` alone, which covers everything else."""

    node_selector: Mapping[str, str] = field(default_factory=dict, compare=False)
    affinity: NodeSelector | None = field(default=None, compare=False)
    tolerations: tuple[Toleration, ...] = field(default=(), compare=False)
    signature: str = field(default="", init=False)

    def __post_init__(self) -> None:
        deciding = (sorted(self.node_selector.items()), self.affinity, self.tolerations)
        digest = hashlib.blake2b(msgspec.json.encode(deciding), digest_size=12).hexdigest()
        object.__setattr__(self, "signature", digest)


@dataclass(frozen=True, slots=True)
class MemberGroup:
    """Members that ask for the same; `demand` is in the units of muster_api.quantities."""

    shape: str
    demand: Mapping[str, int] = field(compare=False)
    constraints: Constraints
    count: int
    amounts: tuple[tuple[str, int], ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        asked = {
            name: min(amount, MOST_ASKED)
            for name, amount in self.demand.items()
            if amount > 0 and name not in IGNORED_RESOURCES
        }
        object.__setattr__(self, "amounts", tuple(sorted(asked.items())))


@dataclass(frozen=True, slots=True)
class GangRequest:
    """A gang that wants to be placed whole.

    `minimum` of all members of all groups together must fit, and as many more as there is room for are placed with
    them. To grow a running elastic gang, ask for its further members alone with a minimum of 1. `created` is a text
    that sorts as the times of submission do. `unsupported` names a constraint that the planner does not model, if
    there is one.
    """

    key: GangKey
    uid: str
    priority: int
    created: str
    groups: tuple[MemberGroup, ...]
    minimum: int
    taught: Lesson = NOTHING_LEARNT
    unsupported: str | None = None
    charges: tuple[Charge, ...] = ()
    """What it takes of limits that it shares with others."""
    strategy: Strategy | None = None
    """How its nodes are chosen; None: as the policy says."""

    @property
    def members(self) -> int:
        """How many members there are to place at most."""
        return sum(group.count for group in self.groups)

    def of_at_most(self, members: int) -> GangRequest:
        """The same with no more members than this, the last ones left out."""
        if members >= self.members:
            return self
        groups: list[MemberGroup] = []
        for group in self.groups:
            count = min(group.count, members)
            members -= count
            if count:
                groups.append(replace(group, count=count))
        return replace(self, groups=tuple(groups))


def constraints_of(pod: Pod) -> Constraints:
    """Where pods of this one's shape may go, as far as the planner models it: exactly what `shape_of` hashes."""
    node_affinity = unpinned_affinity(pod)
    required = node_affinity.required if node_affinity else None
    return Constraints(pod.spec.node_selector, required, pod.spec.tolerations)


def group_members(pods: Iterable[Pod]) -> tuple[MemberGroup, ...]:
    """The pods as groups of one shape each, ordered by shape; raises QuantityError."""
    examples: dict[str, Pod] = {}
    counts: Counter[str] = Counter()
    for pod in pods:
        shape = shape_of(pod)
        examples.setdefault(shape, pod)
        counts[shape] += 1
    return tuple(
        MemberGroup(shape, demand_of(examples[shape]), constraints_of(examples[shape]), counts[shape])
        for shape in sorted(counts)
    )


def order_of(request: GangRequest) -> tuple[bool, int, str, str, GangKey]:
    """The one order of gangs, first is best.

    1. not in quarantine: a gang that keeps failing yields its place
    2. higher priority
    3. older
    4. uid, then key: only so that every tie is broken the same way
    """
    return request.taught.quarantined, -request.priority, request.created, request.uid, request.key
