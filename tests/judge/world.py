"""The cluster as the history tells it, one event after the other in the API server's own order."""

from __future__ import annotations

from dataclasses import dataclass, field

from judge.records import FINISHED, GangRecord, PodRecord

COMMITTED = frozenset({"Committed", "Running"})


@dataclass(frozen=True)
class Ticket:
    """The parts of a release annotation; its signature is not the judge's business."""

    gang: str
    epoch: str
    slot: int
    node: str


def parse_ticket(text: str) -> Ticket | None:
    """Read `v1.<gang>.<epoch>.<slot>.<node>.<mac>`; node names may contain dots."""
    body, _, mac = text.rpartition(".")
    parts = body.split(".", 4)
    if len(parts) != 5 or parts[0] != "v1" or not mac or not parts[3].isdigit():
        return None
    return Ticket(parts[1], parts[2], int(parts[3]), parts[4])


def parse_epoch(text: str) -> tuple[int, int] | None:
    term, dash, count = text.partition("-")
    return (int(term), int(count)) if dash and term.isdigit() and count.isdigit() else None


def planned_slots(plan: dict[str, str]) -> dict[int, str]:
    """Node by slot number, from run-length coded ranges."""
    slots: dict[int, str] = {}
    for node, ranges in plan.items():
        for part in ranges.split(","):
            low, dash, high = part.partition("-")
            for slot in range(int(low), int(high if dash else low) + 1):
                slots[slot] = node
    return slots


@dataclass
class Incarnation:
    """One Gang object from its creation to its end."""

    last: GangRecord
    epochs: set[str] = field(default_factory=set)
    committed_epoch: str = ""
    commits: int = 0
    opened: str = ""
    """What the last commit said of the barrier."""
    slots: dict[int, str] = field(default_factory=dict)
    taken: dict[tuple[str, int], str] = field(default_factory=dict)
    """Which pod uid was bound with which (epoch, slot)."""

    @property
    def may_bind(self) -> bool:
        return bool(self.committed_epoch) and self.committed_epoch == self.last.epoch


@dataclass
class Membership:
    """The pods of one Gang, and how long too few of them stood bound."""

    pods: dict[str, PodRecord] = field(default_factory=dict)
    counted: int = 0
    """Members that are bound and staying, those that succeeded among them."""
    live: int = 0
    """Those of them that still run: where nobody does, nothing stands in part."""
    finished: int = 0
    """Members that succeeded and are gone: done, not missing."""
    first_seconds: float | None = None
    whole_seconds: float | None = None
    partial_since: float | None = None
    still_since: float = 0.0
    still_at: int = 0
    longest_partial: float = 0.0
    longest_standstill: float = 0.0

    def take(self, before: PodRecord | None, after: PodRecord, *, gone: bool) -> None:
        """Keep the counts from one event of a member to the next."""
        if self.first_seconds is None:
            self.first_seconds = after.seconds
        self.counted += int(not gone and _counts(after)) - int(before is not None and _counts(before))
        self.live += int(not gone and _lives(after)) - int(before is not None and _lives(before))
        if not gone:
            self.pods[after.uid] = after
            return
        self.pods.pop(after.uid, None)
        self.finished += after.phase == "Succeeded"
        if not self.pods:
            self.finished = 0

    def minimum(self, gang: Incarnation | None) -> int:
        if gang is not None and gang.last.minimum:
            return gang.last.minimum
        return max((pod.minimum for pod in self.pods.values()), default=0)

    def keeps_broken(self) -> bool:
        return any(pod.keep_broken for pod in self.pods.values())


def _counts(pod: PodRecord) -> bool:
    return bool(pod.node) and pod.phase != "Failed" and not pod.deleting


def _lives(pod: PodRecord) -> bool:
    return _counts(pod) and pod.phase not in FINISHED


@dataclass
class World:
    """Everything that the rules look at; nodes count the GPUs that bound pods hold until they end or are gone."""

    managed: dict[str, bool] = field(default_factory=dict)
    allocatable: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    pods: dict[str, PodRecord] = field(default_factory=dict)
    names: dict[tuple[str, str], str] = field(default_factory=dict)
    """Uid by namespace and name of the pods that exist."""
    gangs: dict[tuple[str, str], Incarnation] = field(default_factory=dict)
    gangs_seen: dict[str, Incarnation] = field(default_factory=dict)
    """By uid, those that are gone included."""
    bindings: int = 0
    memberships: dict[tuple[str, str], Membership] = field(default_factory=dict)

    def gang_of(self, pod: PodRecord) -> Incarnation | None:
        return self.gangs.get((pod.namespace, pod.gang_name)) if pod.gang else None

    def settle_gpus(self, before: PodRecord | None, after: PodRecord | None) -> None:
        for pod, sign in ((before, -1), (after, 1)):
            if pod is not None and pod.node and pod.phase not in FINISHED:
                self.held[pod.node] = self.held.get(pod.node, 0) + sign * pod.gpus
