"""Reads jobs for the api: one, pages of them, and their history."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from muster_api.phases import JobPhase
from muster_queue.rest.service import EventAnswer, JobAttemptAnswer, JobFilter, JobRecord, Page, PageRequest, Position
from muster_queue.service.errors import in_words_of_the_api
from muster_queue.service.records import parse_id, record_of
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.records import Attempt, Event, Job
from muster_queue.storage.records import JobFilter as StoredFilter

CLOCK_DIFFERENCE: Final = timedelta(minutes=1)
"""An id has its api's time and `created_at` the database's: so far around a time jobs are looked at one by one."""

MOST_ATTEMPTS: Final = 10
"""That are shown of a job, each with a result of up to 64 KiB."""


class Reader:
    """Every answer is read from Postgres when it is asked for."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def find(self, job_id: str) -> JobRecord:
        """The job, also where its object is gone: the history stays."""
        with in_words_of_the_api():
            return record_of(await self._jobs.get(parse_id(job_id)))

    async def attempts(self, job_id: str) -> list[JobAttemptAnswer]:
        """The last ones, the latest first."""
        with in_words_of_the_api():
            return [attempt_answer(each) for each in await self._jobs.attempts(parse_id(job_id), MOST_ATTEMPTS)]

    async def page(self, chosen: JobFilter, page: PageRequest) -> Page[JobRecord]:
        """The newest first."""
        with in_words_of_the_api():
            found = await self._jobs.page(stored_filter(chosen), page.limit + 1, _before(page))
        rest = found[: page.limit]
        items = [record_of(job) for job in rest if _is_within(job, chosen)]
        return Page(items=items, next=Position(0, str(rest[-1].id)) if len(found) > page.limit else None)

    async def events(self, job_id: str, page: PageRequest) -> Page[EventAnswer]:
        """The oldest first."""
        after = page.after.number if page.after else 0
        with in_words_of_the_api():
            events = await self._jobs.history(parse_id(job_id), max(after, 0), page.limit + 1)
        items = [event_answer(event) for event in events[: page.limit]]
        return Page(items=items, next=Position(items[-1].number) if len(events) > page.limit else None)


def stored_filter(chosen: JobFilter) -> StoredFilter:
    """The same filter in the store's words, a little wider where it is about time."""
    return StoredFilter(
        namespaces=(chosen.namespace,) if chosen.namespace else None,
        phases=frozenset({chosen.phase}) if chosen.phase else frozenset(JobPhase),
        job_type=chosen.job_type,
        queue=chosen.queue or None,
        labels=tuple(sorted(chosen.labels.items())),
        since=_shifted(chosen.created_after, -CLOCK_DIFFERENCE),
        until=_shifted(chosen.created_before, CLOCK_DIFFERENCE),
        with_gone=True,
    )


def event_answer(event: Event) -> EventAnswer:
    """A line of the history; the versions of the job number it."""
    kind = "Moved" if event.source is not event.target else "Changed"
    return EventAnswer(
        number=event.version,
        time=event.time,
        type="Submitted" if event.source is None else kind,
        phase=event.target,
        reason=event.reason,
        message=event.message,
        attempt=event.attempt,
    )


def attempt_answer(attempt: Attempt) -> JobAttemptAnswer:
    """Progress is kept with single precision; no more of it is shown."""
    return JobAttemptAnswer(
        attempt=attempt.attempt,
        holder=attempt.holder,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        outcome=attempt.outcome,
        failure=attempt.failure,
        exit_code=attempt.exit_code,
        message=attempt.message or "",
        progress=None if attempt.progress is None else round(attempt.progress, 4),
        result=attempt.result,
    )


def _before(page: PageRequest) -> UUID | None:
    return parse_id(page.after.text) if page.after else None


def _is_within(job: Job, chosen: JobFilter) -> bool:
    after, before = chosen.created_after, chosen.created_before
    return (after is None or job.created_at > after) and (before is None or job.created_at < before)


def _shifted(moment: datetime | None, by: timedelta) -> datetime | None:
    """Times at the ends of the calendar stay where they are."""
    try:
        return None if moment is None else moment + by
    except OverflowError:
        return moment
