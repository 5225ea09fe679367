"""What users do to a job: cancel, hold, release, retry, give it another priority."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from muster_queue.rest.service import Change, JobRecord
from muster_queue.rest.service_errors import OutcomeUnknown, Overloaded, Stale, WrongPhase
from muster_queue.service.errors import in_words_of_the_api
from muster_queue.service.records import parse_id, record_of, spec_of
from muster_queue.service.rules import PRIORITY, PRIORITY_PHASES, Rule, planned_change, refusal
from muster_queue.storage import errors as storage
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.moving import Mover
from muster_queue.storage.records import Actor, Job
from muster_queue.storage.records import Change as StoredChange

TRIES: Final = 5
"""A job that changes under our hands is looked at anew, unless the caller has named the version."""
_BUSY_SECONDS: Final = 1.0

Plan = Callable[[Job], StoredChange | None]
"""What to write, or None where all is as it was asked for; raises WrongPhase."""


class Changer:
    """Writes to Postgres alone: what Kubernetes has to hear of it is carried there by the leader."""

    def __init__(self, jobs: Jobs, mover: Mover) -> None:
        self._jobs = jobs
        self._mover = mover

    async def apply(self, rule: Rule, change: Change) -> JobRecord:
        """By one of the rules."""

        def plan(job: Job) -> StoredChange:
            if job.phase not in rule.allowed or job.gone_at is not None:
                raise WrongPhase(refusal(rule.action, job.phase, rule.allowed, rule.elsewhere))
            return planned_change(rule, job, change.actor, spec_of(job).queue_timeout_seconds)

        return await self._change(change, Actor(name=change.actor, action=rule.action), plan)

    async def set_priority(self, change: Change, priority: int) -> JobRecord:
        """Of a job that waits; where it waits already with this one nothing is written."""

        def plan(job: Job) -> StoredChange | None:
            if job.phase not in PRIORITY_PHASES or job.gone_at is not None:
                raise WrongPhase(refusal(PRIORITY, job.phase, PRIORITY_PHASES))
            if job.priority == priority:
                return None
            return StoredChange(job_id=job.id, version=job.version, priority=priority)

        actor = Actor(name=change.actor, action=PRIORITY, details={"priority": priority})
        return await self._change(change, actor, plan)

    async def _change(self, change: Change, actor: Actor, plan: Plan) -> JobRecord:
        job_id = parse_id(change.job_id)
        with in_words_of_the_api():
            for _ in range(TRIES):
                job = await self._jobs.get(job_id)
                if change.version not in (None, job.version):
                    raise Stale(f"the job is at version {job.version}")
                planned = plan(job)
                if planned is None:
                    return record_of(job)
                try:
                    await self._mover.move_one(planned, actor)
                except storage.Stale:
                    if change.version is not None:
                        raise
                    continue
                except storage.IllegalTransition:
                    # It moved on between the look and the write: the next look says what it is now.
                    continue
                except storage.OutcomeUnknown as error:
                    await self._look(job, planned, actor, error)
                return record_of(await self._jobs.get(job_id))
        raise Overloaded(_BUSY_SECONDS, "the job changes too fast; try again")

    async def _look(self, before: Job, planned: StoredChange, actor: Actor, error: storage.OutcomeUnknown) -> None:
        """Returns where the change is there to be seen; a version is written once, so nobody else's looks like it."""
        try:
            events = await self._jobs.history(before.id, before.version, most=1)
        except storage.StorageError:
            raise OutcomeUnknown(str(error)) from error
        target = planned.target or before.phase
        if not events or (events[0].version, events[0].actor, events[0].target) != (
            before.version + 1,
            actor.name,
            target,
        ):
            raise OutcomeUnknown(str(error)) from error
