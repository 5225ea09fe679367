"""Lists, pages and counts say what a plain look at all jobs says."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta

import pytest

from bones.storing import make_job, make_request
from muster_api.phases import JobPhase
from muster_queue.storage.attempts import Attempts
from muster_queue.storage.identifiers import made_at
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.moving import Mover
from muster_queue.storage.records import Actor, Candidate, Change, Job, JobFilter
from muster_queue.storage.submissions import Submissions

ADA = Actor(name="ada", action="test")

FILTERS: list[tuple[str, JobFilter, Callable[[Job], bool]]] = [
    ("everything", JobFilter(), lambda job: True),
    ("a namespace", JobFilter(namespaces=("team-1",)), lambda job: job.namespace == "team-1"),
    ("no namespace", JobFilter(namespaces=()), lambda job: False),
    ("two namespaces", JobFilter(namespaces=("team-1", "team-2")), lambda job: job.namespace in ("team-1", "team-2")),
    ("a queue", JobFilter(queue="q1"), lambda job: job.queue == "q1"),
    ("a type", JobFilter(job_type="training"), lambda job: job.job_type == "training"),
    ("a label", JobFilter(labels=(("team", "a"),)), lambda job: job.labels.get("team") == "a"),
    (
        "two labels of a namespace",
        JobFilter(labels=(("team", "a"), ("tier", "x")), namespaces=("team-0",)),
        lambda job: job.namespace == "team-0" and job.labels == {"team": "a", "tier": "x"},
    ),
    (
        "everything at once",
        JobFilter(
            namespaces=("team-0", "team-1"),
            phases=frozenset({JobPhase.QUEUED, JobPhase.HELD}),
            queue="q0",
            job_type="inference",
            labels=(("team", "b"),),
        ),
        lambda job: (
            job.namespace in ("team-0", "team-1")
            and job.phase in (JobPhase.QUEUED, JobPhase.HELD)
            and (job.queue, job.job_type, job.labels.get("team")) == ("q0", "inference", "b")
        ),
    ),
    *(
        (f"phase {phase}", JobFilter(phases=frozenset({phase})), lambda job, phase=phase: job.phase is phase)
        for phase in JobPhase
    ),
    (
        "running, of a namespace and a queue",
        JobFilter(phases=frozenset({JobPhase.RUNNING}), namespaces=("team-0",), queue="q0"),
        lambda job: job.phase is JobPhase.RUNNING and (job.namespace, job.queue) == ("team-0", "q0"),
    ),
]


@pytest.fixture
async def everything(submissions: Submissions, mover: Mover, attempts: Attempts, jobs: Jobs) -> list[Job]:
    """Jobs of all kinds, the newest first."""
    dice = random.Random(7)
    made = [
        make_job(
            namespace=f"team-{dice.randrange(3)}",
            queue=f"q{dice.randrange(2)}",
            job_type=dice.choice(["training", "inference"]),
            labels=dice.choice([None, {"team": "a"}, {"team": "b"}, {"team": "a", "tier": "x"}]),
        )
        for _ in range(240)
    ]
    await submissions.store([make_request(job) for job in made])
    claimed = [job.id for job in made if dice.random() < 0.4]
    for start in range(0, len(claimed), 2):
        target = JobPhase.RUNNING if start % 4 else JobPhase.SCHEDULED
        candidates = [Candidate(id=job_id) for job_id in claimed[start : start + 2]]
        await attempts.claim(candidates, holder="w", actor="pool", lease_seconds=60, target=target)
    ends = [JobPhase.SUCCEEDED, JobPhase.DEAD_LETTER, JobPhase.RETRYING, JobPhase.FAILED, JobPhase.CANCELLED]
    await mover.move(
        [Change(job_id=job_id, target=dice.choice(ends), attempt=1) for job_id in claimed if dice.random() < 0.6], ADA
    )
    await mover.move([Change(job_id=job.id, target=JobPhase.HELD) for job in made[::9]], ADA)
    found = await jobs.find([job.id for job in made])
    return [found[job_id] for job_id in sorted(found, reverse=True)]


async def all_pages(jobs: Jobs, wanted: JobFilter, size: int) -> list[Job]:
    found: list[Job] = []
    while page := await jobs.page(wanted, size, found[-1].id if found else None):
        assert len(page) <= size
        found += page
    return found


async def test_each_filter_finds_what_a_look_at_all_jobs_finds(jobs: Jobs, everything: list[Job]) -> None:
    for words, wanted, holds in FILTERS:
        assert await all_pages(jobs, wanted, 17) == [job for job in everything if holds(job)], words


async def test_a_time_filter_is_about_submission(jobs: Jobs, everything: list[Job]) -> None:
    middle = made_at(everything[120].id)
    older = await all_pages(jobs, JobFilter(until=middle), 50)
    newer = await all_pages(jobs, JobFilter(since=middle), 50)
    assert newer + older == everything
    assert await all_pages(jobs, JobFilter(since=middle + timedelta(hours=1)), 50) == []


async def test_dead_letters_are_a_list_of_their_own(jobs: Jobs, everything: list[Job]) -> None:
    dead = [job for job in everything if job.phase is JobPhase.DEAD_LETTER]
    assert dead and await jobs.dead_letters(None, 100) == dead
    assert await jobs.dead_letters(("team-0",), 100) == [job for job in dead if job.namespace == "team-0"]


async def test_counts_are_those_of_the_jobs(jobs: Jobs, everything: list[Job]) -> None:
    counts = await jobs.counts()
    assert sum(count.dead_letters for count in counts) == sum(job.phase is JobPhase.DEAD_LETTER for job in everything)
    for count in counts:
        here = [job for job in everything if (job.namespace, job.queue) == (count.namespace, count.queue)]
        phases = [job.phase for job in here]
        assert count.queued == phases.count(JobPhase.QUEUED)
        assert count.started == phases.count(JobPhase.RUNNING) + phases.count(JobPhase.SCHEDULED)
        assert count.parked == phases.count(JobPhase.HELD) + phases.count(JobPhase.RETRYING)
        active = [job for job in here if job.phase in (JobPhase.QUEUED, JobPhase.RUNNING, JobPhase.SCHEDULED)]
        assert count.oldest_active == (made_at(active[-1].id) if active else None)
    assert {count.namespace for count in await jobs.counts(("team-1",))} == {"team-1"}


async def test_a_page_is_bounded_whatever_is_asked_for(jobs: Jobs, everything: list[Job]) -> None:
    assert len(await jobs.page(JobFilter(), 1_000_000)) == len(everything) <= 500
