"""What the controller can do next for one gang, as values: decided in one place, carried out in another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from muster_api.gangs import Abort, GangStatus
from muster_api.jobs import AIJob, AIJobStatus
from muster_queue.controller.members import Member
from muster_queue.controller.slots import Assignment
from muster_queue.controller.statuses import Report
from muster_queue.jobs.templates import JobTemplate


@dataclass(frozen=True, slots=True)
class CreateGang:
    """Its first member is there and speaks for it."""

    first: Member


@dataclass(frozen=True, slots=True)
class DeleteGang:
    """Nobody carries its label any more, or the label begins anew."""

    why: str


@dataclass(frozen=True, slots=True)
class Move:
    """Compare-and-swap the status to this one."""

    status: GangStatus
    kind: str
    """Names the failpoints around it: abort, evict, released; empty for none."""
    abort: Abort | None = None

    @property
    def takes_down(self) -> bool:
        """Whether it takes back what a gang has, because of something that was not seen to happen."""
        return self.kind in ("abort", "evict", "trim")


@dataclass(frozen=True, slots=True)
class SendTickets:
    """Write these tickets, take our gate off; then, if this was the first round, say that all are out."""

    assignments: tuple[Assignment, ...]
    released: GangStatus | None


@dataclass(frozen=True, slots=True)
class EvictMembers:
    """Ask for the eviction of these; disruption budgets may hold it up."""

    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class CreateJobGang:
    """A job of ours asks for a gang; its pods follow once it has its places."""

    template: JobTemplate


@dataclass(frozen=True, slots=True)
class CreatePods:
    """Make the pods for these slots, each on its node; then say that all are out."""

    template: JobTemplate
    slots: tuple[tuple[int, str], ...]
    size: int
    """Members of the whole gang."""
    released: GangStatus | None


@dataclass(frozen=True, slots=True)
class DeletePods:
    """Delete pods that Muster has made and that hold nothing any more."""

    members: tuple[Member, ...]
    is_forced: bool = False
    """Without waiting for a node that is lost."""


@dataclass(frozen=True, slots=True)
class WriteJob:
    """Compare-and-swap the job's status to this one."""

    job: AIJob
    status: AIJobStatus


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Its time to live is over."""

    job: AIJob


JobStep = CreateJobGang | CreatePods | DeletePods | WriteJob | DeleteJob
Step = CreateGang | DeleteGang | Move | SendTickets | EvictMembers | JobStep


def takes_down(step: Step) -> bool:
    """Whether the step must not rest on old news: the end of an attempt, once it is on record, takes a gang down."""
    return isinstance(step, DeleteGang | EvictMembers | DeletePods | WriteJob | DeleteJob) or (
        isinstance(step, Move) and step.takes_down
    )


@dataclass(frozen=True, slots=True)
class Decision:
    """One look at a gang: the next step if there is one, what to tell, whom to plan, and when to look again."""

    step: Step | None = None
    report: Report | None = None
    wanted: tuple[Member, ...] = ()
    """Members that need a place in the next plan."""
    ordered: JobTemplate | None = None
    """A job whose members, all of them still to be made, need places in the next plan."""
    is_growth: bool = False
    """The wanted ones join a gang that runs: each is planned alone and binds without a barrier."""
    recheck_after: float | None = None
    lessons: Mapping[str, Abort] = field(default_factory=dict)
    """By uid, what is learnt from places of members that failed after the commit."""
