"""Who of the pods with one gang label counts as a member, and who does not and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from muster_api.gangs import Gang, GangSpec
from muster_api.reasons import Reason
from muster_queue.controller.members import Member, Problem, Stage, unverified
from muster_queue.controller.statuses import succeeded_so_far


@dataclass(frozen=True, slots=True)
class Roster:
    """The pods of one gang, sorted out; `counted` are live and never more than the gang's size."""

    counted: tuple[Member, ...] = ()
    surplus: tuple[Member, ...] = ()
    refused: tuple[tuple[Member, Problem], ...] = ()
    ended: tuple[Member, ...] = ()
    going: tuple[Member, ...] = ()
    past: tuple[Member, ...] = ()
    """Pods that ended in an earlier try, or as members of an earlier gang of that label: no part of this one."""
    finished: int = 0
    """Members that succeeded and whose pods are gone already, as far as this process saw it."""
    remembered: int = 0
    """Members that had succeeded by what the Gang itself says: an earlier process may have seen more."""

    @property
    def bound(self) -> int:
        return sum(1 for member in self.counted if member.stage is Stage.BOUND)

    @property
    def done(self) -> int:
        """Members that came to a good end."""
        seen = self.finished + sum(1 for member in self.ended if member.stage is Stage.SUCCEEDED)
        return max(seen, self.remembered)

    @property
    def ready(self) -> tuple[Member, ...]:
        """Members that nothing but Muster holds back."""
        return tuple(member for member in self.counted if not member.foreign_gate)

    @property
    def live(self) -> tuple[Member, ...]:
        """Those that have neither ended nor begun to go, whether they count or not."""
        return (*self.counted, *self.surplus, *(member for member, _ in self.refused))

    @property
    def has_live(self) -> bool:
        return bool(self.counted or self.surplus or self.refused)

    @property
    def has_pods(self) -> bool:
        return bool(self.has_live or self.ended or self.past or self.going)

    def everyone(self) -> tuple[Member, ...]:
        """All pods of the label, whatever their state."""
        return (*self.live, *self.ended, *self.past, *self.going)


def has_taken_part(member: Member, gang: Gang) -> bool:
    """Whether a pod that has ended was a member in this try, or an earlier one of the same name left it behind.

    Who was bound before the Gang was made never had its ticket; such a gang never passed the barrier and counts all.
    A key that is gone by now takes nothing away from a pod that ran, so the signature is not asked for.
    """
    if gang.status.committed_at is None:
        return True
    ticket = member.ticket or unverified(member.namespace, member.ticket_text)
    return ticket is not None and (ticket.gang, str(ticket.epoch)) == (gang.spec.id, gang.status.epoch)


def call_roll(members: Iterable[Member], gang: Gang, finished: int = 0) -> Roster:
    """Sort the pods of one label: at most `spec.members` count, those let go first, then the oldest."""
    spec = gang.spec
    live: list[Member] = []
    ended: list[Member] = []
    past: list[Member] = []
    going: list[Member] = []
    refused: list[tuple[Member, Problem]] = []
    for member in members:
        if member.is_terminal:
            (ended if has_taken_part(member, gang) else past).append(member)
        elif member.deleting:
            going.append(member)
        elif (problem := _problem(member, spec)) is not None:
            refused.append((member, problem))
        else:
            live.append(member)
    takes_part = bool(ended) or any(_rank(member, spec.id, gang.status.epoch)[0] < 2 for member in (*live, *going))
    size = spec.members
    if len(live) > size:
        live.sort(key=lambda member: _rank(member, spec.id, gang.status.epoch))
    return Roster(
        counted=tuple(live[:size]),
        surplus=tuple(live[size:]),
        refused=tuple(refused),
        ended=tuple(ended),
        going=tuple(going),
        past=tuple(past),
        finished=finished,
        # Once nobody of that try is left, new pods of the label are no part of it.
        remembered=succeeded_so_far(gang.status) if takes_part else 0,
    )


def first_member(members: Iterable[Member]) -> Member | None:
    """The member whose annotations speak for the gang: the oldest that is live and says something that can be read."""
    candidates = (member for member in members if member.is_live and _can_speak(member))
    return min(candidates, key=lambda member: (member.created, member.uid), default=None)


def _can_speak(member: Member) -> bool:
    """A constraint that is not planned for leaves size and minimum readable; its gang has to exist to tell of it."""
    return member.problem is None or member.problem.reason is Reason.UNSUPPORTED_CONSTRAINT


def _problem(member: Member, spec: GangSpec) -> Problem | None:
    if member.stage is Stage.BOUND:
        return None
    if member.problem is not None:
        return member.problem
    if (member.size, member.minimum) == (spec.members, spec.min_members):
        return None
    text = (
        f"pod {member.name} says gang-size {member.size} and gang-min {member.minimum}, "
        f"its gang has {spec.members} and {spec.min_members}; all members have to say the same"
    )
    return Problem(Reason.INCONSISTENT_MEMBERS, text)


def _rank(member: Member, gang_id: str, epoch: str) -> tuple[int, str, str]:
    if member.stage is Stage.BOUND:
        return 0, member.created, member.uid
    return 1 if member.holds(gang_id, epoch) else 2, member.created, member.uid
