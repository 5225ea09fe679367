"""Decides, look by look, whether what a gang's status says is out of date for long enough to be written again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from muster_api.gangs import Gang
from muster_api.reasons import Reason
from muster_kube.clock import rfc3339
from muster_planner.reservation import Explanation
from muster_queue.controller import statuses
from muster_queue.controller.attention import Attention
from muster_queue.controller.backlog import Target, owner_of
from muster_queue.controller.groups import GroupKey
from muster_queue.controller.job_telling import JobTeller
from muster_queue.controller.looking import GroupLook, SingleLook
from muster_queue.controller.performing import Hands, Performer
from muster_queue.controller.reporting import PODS_TOLD, PROGRESS_INTERVAL, Pacing, difference
from muster_queue.controller.statuses import Report
from muster_queue.controller.steps import Move
from muster_queue.controller.views import GangView
from muster_queue.controller.workers import Workers

SURPLUS: Final = "its gang has all the members that it was declared with; this pod stays gated"


class Teller:
    """Keeps the planner's explanations, and says nothing that was said already."""

    def __init__(self, hands: Hands, attention: Attention, workers: Workers, performer: Performer) -> None:
        self._hands = hands
        self._attention = attention
        self._workers = workers
        self._performer = performer
        self._explained: dict[str, Explanation] = {}
        self._pacing = Pacing()
        self._single_since: dict[str, float] = {}
        self._jobs = JobTeller(hands.clock, attention, workers, performer)

    def explain(self, explanations: Iterable[Explanation], targets: Mapping[str, Target]) -> None:
        """The newest plan's reasons replace all before; whoever hears something new is looked at again."""
        fresh = {explanation.uid: explanation for explanation in explanations}
        for uid, explanation in fresh.items():
            if self._explained.get(uid) != explanation and uid in targets:
                self._attention.recheck(owner_of(targets[uid]), 0.0)
        self._explained = fresh

    def tell_group(self, look: GroupLook) -> None:
        """Compare what the status says with what is so, and write it once the difference has lasted."""
        view = look.view
        if look.decision.recheck_after is not None:
            self._attention.recheck(look.group.key, look.decision.recheck_after)
        if look.group.is_of_job:
            self._jobs.tell(look)
        if view is None:
            self._tell_problems(look)
            return
        self._tell_left_out(view)
        report = look.decision.report or self._explanation_of(view.gang, view)
        if report is None or look.decision.step is not None or self._workers.is_busy(look.group.key):
            return
        key = look.group.key
        wait = self._pacing.wait(key, difference(view.gang.status, report), self._hands.clock.monotonic())
        if wait is None:
            return
        if wait > 0:
            self._attention.recheck(key, wait)
            return
        self._pacing.written(key)
        self._write(look, view, report)

    def tell_single(self, look: SingleLook) -> None:
        """An event on the pod, once it has waited for a moment."""
        member, decision = look.member, look.decision
        if decision.recheck_after is not None:
            self._attention.recheck(member.uid, decision.recheck_after)
        report = self._single_report(look)
        if report is None:
            self._single_since.pop(member.uid, None)
            return
        now = self._hands.clock.monotonic()
        left = self._single_since.setdefault(member.uid, now) + PROGRESS_INTERVAL - now
        if left > 0:
            self._attention.recheck(member.uid, left)
        else:
            self._hands.reporter.tell_pod(member, report)

    def forget_group(self, key: GroupKey) -> None:
        self._pacing.written(key)
        self._jobs.forget(key)

    def forget_single(self, uid: str) -> None:
        self._single_since.pop(uid, None)
        self._explained.pop(uid, None)

    def _write(self, look: GroupLook, view: GangView, report: Report) -> None:
        told = statuses.with_report(view.gang.status, report, rfc3339(self._hands.clock.now()))
        unbound = tuple(member for member in view.roster.counted if member.is_unbound)
        self._workers.start(look.group.key, self._performer.perform(look.group, Move(told, "report"), view.gang))
        if not report.is_scheduled:
            self._hands.reporter.waiting(look.group, unbound, report)

    def _explanation_of(self, gang: Gang, view: GangView) -> Report | None:
        explained = self._explained.get(gang.metadata.uid)
        if explained is None:
            return None
        return Report(explained.reason, explained.message, len(view.roster.counted), view.roster.bound)

    def _single_report(self, look: SingleLook) -> Report | None:
        if look.decision.reason is not None and look.decision.reason is not Reason.BINDING:
            return Report(look.decision.reason, look.decision.message)
        explained = self._explained.get(look.member.uid)
        if explained is None or not look.decision.wants_place:
            return None
        return Report(explained.reason, explained.message)

    def _tell_problems(self, look: GroupLook) -> None:
        """No Gang can be made yet, so the pods themselves are the only place to say why."""
        for member in list(look.group.members.values())[:PODS_TOLD]:
            if member.problem is not None and member.is_unbound:
                self._hands.reporter.tell_pod(member, Report(member.problem.reason, member.problem.message))

    def _tell_left_out(self, view: GangView) -> None:
        for member, problem in view.roster.refused[:PODS_TOLD]:
            self._hands.reporter.tell_pod(member, Report(problem.reason, problem.message))
        for member in view.roster.surplus[:PODS_TOLD]:
            self._hands.reporter.tell_pod(member, Report(Reason.SURPLUS_MEMBER, SURPLUS))
        for member in view.roster.counted:
            explained = self._explained.get(member.uid)
            if explained is not None and member.is_unbound:
                self._hands.reporter.tell_pod(member, Report(explained.reason, explained.message))
