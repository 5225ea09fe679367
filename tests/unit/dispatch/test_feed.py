"""What is remembered of changed AIJobs: each once, the newest state, and how many wait."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from muster_api.jobs import AIJob, AIJobSpec, AIJobStatus, Execution, JobType
from muster_api.objects import ObjectMeta
from muster_api.phases import JobPhase
from muster_queue.dispatch import feed as feeding
from muster_queue.dispatch.feed import Feed

KEY = ("team-a", "one")
PLACE = ("team-a", "default")


class Watched:
    """What a reflector tells."""

    def __init__(self) -> None:
        self.feed = Feed(lambda job: job.spec.priority or 50)
        self.store: dict[tuple[str, str], AIJob] = {}
        self.feed._store = self.store
        self.feed.follow()

    def tell(self, job: AIJob) -> None:
        self.store[job.metadata.namespace, job.metadata.name] = job
        self.feed.see(job)

    def drop(self, job: AIJob) -> None:
        self.store.pop((job.metadata.namespace, job.metadata.name), None)
        self.feed.lose(job)


def make(version: int = 1, *, name: str = "one", phase: JobPhase = JobPhase.QUEUED, **spec: object) -> AIJob:
    return AIJob(
        metadata=ObjectMeta(namespace="team-a", name=name, uid=f"uid-{name}", resource_version=str(version)),
        spec=AIJobSpec(job_type=JobType.TRAINING, **spec),
        status=AIJobStatus(phase=phase),
    )


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_however_often_it_changes_it_is_taken_once(watched: Watched) -> None:
    for version in range(5):
        watched.tell(make(version))
    assert watched.feed.take(10) == ([KEY], [])
    assert watched.feed.take(10) == ([], [])


def test_an_own_write_is_known_before_the_watch_tells(watched: Watched) -> None:
    watched.tell(make(1))
    watched.feed.see_answer(make(3, suspend=True))
    watched.tell(make(2))
    known = watched.feed.known(KEY)
    assert known is not None and known.spec.suspend
    watched.tell(make(4))
    known = watched.feed.known(KEY)
    assert known is not None and known.metadata.resource_version == "4"


def test_an_answer_that_is_older_than_the_watch_changes_nothing(watched: Watched) -> None:
    watched.tell(make(5))
    watched.feed.see_answer(make(3, suspend=True))
    known = watched.feed.known(KEY)
    assert known is not None and not known.spec.suspend


def test_what_was_made_and_deleted_is_gone(watched: Watched) -> None:
    watched.feed.see_answer(make(1))
    assert [job.metadata.name for job in watched.feed.unconfirmed()] == ["one"]
    watched.drop(make(2))
    assert watched.feed.known(KEY) is None and watched.feed.unconfirmed() == []
    assert [job.metadata.uid for job in watched.feed.take(10)[1]] == ["uid-one"]


def test_those_wait_that_are_to_get_a_place(watched: Watched) -> None:
    watched.tell(make(1))
    watched.tell(make(1, name="new", phase=JobPhase.PENDING))
    watched.tell(make(1, name="runs", phase=JobPhase.RUNNING))
    watched.tell(make(1, name="held", suspend=True))
    watched.tell(make(1, name="pooled", phase=JobPhase.PENDING, execution=Execution.POOL))
    assert len(watched.feed.waiting()[PLACE]) == 2
    watched.tell(make(2, phase=JobPhase.SCHEDULED))
    watched.drop(make(2, name="new"))
    assert watched.feed.waiting() == {}


def test_more_deletions_than_are_kept_ask_for_a_comparison(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "MOST_GONE", 1)
    watched.drop(make(1))
    assert not watched.feed.needs_scan
    watched.drop(make(1, name="two"))
    assert watched.feed.needs_scan


def test_a_standby_keeps_nothing_but_the_count(watched: Watched) -> None:
    watched.feed.leave()
    watched.tell(make(1))
    watched.drop(replace(make(1, name="two")))
    assert watched.feed.pending() == 0 and watched.feed.needs_scan
    assert len(watched.feed.waiting()[PLACE]) == 1
