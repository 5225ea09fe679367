"""Decides, look by look, whether a job's status is out of date for long enough to be written again."""

from __future__ import annotations

import operator

from muster_api.jobs import AIJobStatus
from muster_api.phases import JobPhase
from muster_kube.clock import Clock
from muster_queue.controller.attention import Attention
from muster_queue.controller.groups import GroupKey
from muster_queue.controller.looking import GroupLook
from muster_queue.controller.performing import Performer
from muster_queue.controller.reporting import Difference, Pacing
from muster_queue.controller.steps import WriteJob
from muster_queue.controller.workers import Workers


class JobTeller:
    """What decides something is written at once and elsewhere; here is what only tells."""

    def __init__(self, clock: Clock, attention: Attention, workers: Workers, performer: Performer) -> None:
        self._clock = clock
        self._attention = attention
        self._workers = workers
        self._performer = performer
        self._pacing = Pacing()

    def tell(self, look: GroupLook) -> None:
        """Starts a write once the difference has lasted; a job that has begun to run says so at once."""
        key, told = look.group.key, look.job
        if told is None or look.decision.step is not None or self._workers.is_busy(key):
            return
        job, status = told.job, told.decision.status
        wait = self._pacing.wait(key, difference_of_jobs(job.status, status), self._clock.monotonic())
        if wait is None:
            return
        if wait > 0 and not _is_urgent(job.status, status):
            self._attention.recheck(key, wait)
            return
        self._pacing.written(key)
        self._workers.start(key, self._performer.perform(look.group, WriteJob(job, status), None))

    def forget(self, key: GroupKey) -> None:
        self._pacing.written(key)


def difference_of_jobs(status: AIJobStatus, wanted: AIJobStatus) -> Difference:
    """Compares what a job's status says with what it should say; conditions only repeat the rest."""
    numbers = operator.attrgetter("phase", "reason", "ready", "attempt", "gpus", "observed_generation")
    same = numbers(status) == numbers(wanted)
    return Difference(not same or status.message != wanted.message, same)


def _is_urgent(status: AIJobStatus, wanted: AIJobStatus) -> bool:
    return wanted.phase is JobPhase.RUNNING and status.phase is not JobPhase.RUNNING
