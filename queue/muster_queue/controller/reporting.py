"""Tells users why something waits: when a status is worth a write, and which events go where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from muster_api.gangs import Gang, GangStatus
from muster_api.jobs import AIJob
from muster_api.phases import JobPhase
from muster_api.reasons import Reason
from muster_kube.events import EventRecorder, EventType, Reference
from muster_queue.controller.gang_writer import API_VERSION
from muster_queue.controller.groups import Group, GroupKey
from muster_queue.controller.members import Member
from muster_queue.controller.statuses import LONGEST_MESSAGE, Report

PROGRESS_INTERVAL: Final = 1.0
WORDING_INTERVAL: Final = 5.0
PODS_TOLD: Final = 20

BAD_PHASES: Final = frozenset({JobPhase.FAILED, JobPhase.DEAD_LETTER, JobPhase.RETRYING})
GOOD: Final = frozenset({Reason.SCHEDULED, Reason.RESERVED, Reason.WAITING_AT_BARRIER, Reason.BINDING, Reason.FINISHED})


@dataclass(frozen=True, slots=True)
class Difference:
    """How a status differs from what it should say."""

    is_any: bool
    is_minor: bool
    """Only other words for the same, or one more binding of several."""

    @property
    def patience(self) -> float:
        """How long it may stay like that: what is new is told soon, the rest later."""
        return WORDING_INTERVAL if self.is_minor else PROGRESS_INTERVAL


def difference(status: GangStatus, report: Report) -> Difference:
    """Compares what a Gang's status says with what it should say."""
    same_numbers = (status.reason, status.present, status.bound) == (report.reason, report.present, report.bound)
    same_words = status.message == report.message[:LONGEST_MESSAGE]
    # Bindings come one after the other, and the last of them is told at once by the gang's next phase.
    is_binding = status.reason == report.reason == Reason.BINDING
    return Difference(not (same_numbers and same_words), same_numbers or is_binding)


class Pacing:
    """Since when each gang's status has been out of date, so that quick changes cost no writes at all."""

    def __init__(self) -> None:
        self._since: dict[GroupKey, float] = {}

    def wait(self, key: GroupKey, found: Difference, now: float) -> float | None:
        """Seconds until this difference is to be written, 0 for now; None when there is none."""
        if not found.is_any:
            self._since.pop(key, None)
            return None
        since = self._since.setdefault(key, now)
        return max(0.0, since + found.patience - now)

    def written(self, key: GroupKey) -> None:
        self._since.pop(key, None)


class Reporter:
    """Posts events; the recorder behind it says nothing twice in a row about the same object."""

    def __init__(self, recorder: EventRecorder) -> None:
        self._recorder = recorder

    def moved(self, group: Group) -> None:
        """The gang has made a step that its status now tells of."""
        gang = group.gang
        if gang is not None and gang.status.reason:
            self._record(_gang_reference(gang), gang.status.reason, gang.status.message)

    def waiting(self, group: Group, members: tuple[Member, ...], report: Report) -> None:
        """The gang waits and says why: on itself and, where nothing goes on, on its first members as well."""
        self.tell_gang(group, report)
        for member in members[:PODS_TOLD] if report.reason not in GOOD else ():
            self.tell_pod(member, report)

    def tell_gang(self, group: Group, report: Report, *, is_warning: bool = False) -> None:
        if group.gang is not None:
            self._record(_gang_reference(group.gang), report.reason, report.message, is_warning=is_warning)

    def tell_pod(self, member: Member, report: Report) -> None:
        reference = Reference(
            api_version="v1", kind="Pod", namespace=member.namespace, name=member.name, uid=member.uid
        )
        self._record(reference, report.reason, report.message)

    def tell_job(self, job: AIJob) -> None:
        """The job's phase or reason is another one now."""
        is_bad = job.status.phase in BAD_PHASES
        self._record(_job_reference(job), job.status.reason, job.status.message, is_warning=is_bad)

    def warn_job(self, job: AIJob, reason: Reason, message: str) -> None:
        """Something about the job that its status has no place for."""
        self._record(_job_reference(job), reason, message, is_warning=True)

    def _record(self, about: Reference, reason: str, message: str, *, is_warning: bool = False) -> None:
        kind = EventType.WARNING if is_warning or reason not in GOOD else EventType.NORMAL
        self._recorder.record(about, kind, reason, message)


def _job_reference(job: AIJob) -> Reference:
    metadata = job.metadata
    return Reference(
        api_version=API_VERSION, kind="AIJob", namespace=metadata.namespace, name=metadata.name, uid=metadata.uid
    )


def _gang_reference(gang: Gang) -> Reference:
    metadata = gang.metadata
    return Reference(
        api_version=API_VERSION, kind="Gang", namespace=metadata.namespace, name=metadata.name, uid=metadata.uid
    )
