"""What the stores and Kubernetes say of the jobs of a campaign, beside each other; the tables are read as they are."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import psycopg
from psycopg.rows import dict_row
from redis import Redis

from bones.kube import Item, Kube
from bones.names import P
from bones.queue_orders import TICKET
from bones.stage import phase_of
from muster_local.cluster import Cluster

LOOK_SECONDS = 0.05
CONNECT_SECONDS = 2
JOB = f"{P}job"
ENDED = frozenset({"Succeeded", "Failed", "DeadLetter", "Cancelled"})
OPEN_TWICE = """
    select job_id::text, count(*) from muster.dispatches where ended_at is null group by job_id having count(*) > 1
"""
JOBS = """
    select id::text, name, phase::text, reason, message, labels, execution, queue, version, attempt, object_uid,
           gone_at is not null as is_gone, finished_at is not null as is_finished
    from muster.jobs where namespace = %s
"""
ATTEMPTS = """
    select job_id::text, attempt, started_at, ended_at, outcome::text from muster.dispatches where namespace = %s
    order by job_id, attempt
"""
EVENTS = """
    select job_id::text, version, source::text, target::text from muster.events where namespace = %s
    order by job_id, version
"""

Row = dict[str, Any]


class AttemptWatch(threading.Thread):
    """Looks all the time whether a job has two open attempts; while Postgres is away nobody can open any."""

    def __init__(self, url: str) -> None:
        super().__init__(name="attempt watch")
        self._url = url
        self._over = threading.Event()
        self.looks = 0
        self.found: dict[str, int] = {}

    def stop(self) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            try:
                with psycopg.connect(self._url, autocommit=True, connect_timeout=CONNECT_SECONDS) as connection:
                    self._look(connection)
            except psycopg.OperationalError:
                continue

    def _look(self, connection: psycopg.Connection[Any]) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self.found |= dict(connection.execute(OPEN_TWICE).fetchall())
            self.looks += 1


@dataclass(frozen=True)
class Truth:
    """All of one namespace, read at one moment."""

    jobs: Sequence[Row]
    attempts: dict[str, list[Row]]
    events: dict[str, list[Row]]

    @classmethod
    def read(cls, url: str, namespace: str) -> Truth:
        with psycopg.connect(url, row_factory=dict_row, connect_timeout=CONNECT_SECONDS) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            jobs, attempts, events = (
                connection.execute(text, [namespace]).fetchall() for text in (JOBS, ATTEMPTS, EVENTS)
            )
        return cls(jobs, _by_job(attempts), _by_job(events))

    def by_ticket(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = defaultdict(list)
        for job in self.jobs:
            found[(job["labels"] or {}).get(TICKET, "")].append(job)
        return found

    def wrong_histories(self) -> Iterator[str]:
        """What can be right in no job, whatever it is."""
        for job in self.jobs:
            attempts, events = self.attempts.get(job["id"], []), self.events.get(job["id"], [])
            wrong = [*_wrong_attempts(job, attempts), *_wrong_events(job, events)]
            yield from (f"{job['name']} ({job['phase']}, {job['labels']}): {text}" for text in wrong)

    def phases(self) -> Counter[str]:
        return Counter(job["phase"] for job in self.jobs)


def _wrong_attempts(job: Row, attempts: Sequence[Row]) -> Iterator[str]:
    if [each["attempt"] for each in attempts] != list(range(1, job["attempt"] + 1)):
        yield f"has the attempts {[each['attempt'] for each in attempts]}, and says {job['attempt']}"
    for earlier, later in pairwise(attempts):
        if earlier["ended_at"] is None or earlier["ended_at"] > later["started_at"]:
            yield f"attempt {earlier['attempt']} reaches into the next: {earlier['ended_at']}, {later['started_at']}"
    if job["phase"] in ENDED and any(each["ended_at"] is None for each in attempts):
        yield "has ended and an attempt of it is open"
    successes = sum(1 for each in attempts if each["outcome"] == "Succeeded")
    if successes != (job["phase"] == "Succeeded"):
        yield f"has succeeded {successes} times"


def _wrong_events(job: Row, events: Sequence[Row]) -> Iterator[str]:
    versions = [each["version"] for each in events]
    if versions and versions != list(range(versions[0], job["version"] + 1)):
        yield f"has events for the versions {versions}, and is version {job['version']}"
    for earlier, later in pairwise(events):
        if earlier["target"] != later["source"]:
            yield f"went to {earlier['target']} and on from {later['source']}"
    if events and events[-1]["target"] != job["phase"]:
        yield f"went to {events[-1]['target']} in the end"


def wrong_objects(kube: Kube, namespace: str, jobs: Sequence[Row]) -> Iterator[str]:
    """Where AIJobs and rows differ, and what is left over of jobs that have ended."""
    aijobs, gangs = kube.items("aijobs", namespace), kube.items("gangs", namespace)
    rows = {job["name"]: job for job in jobs if job["object_uid"] and not job["is_gone"]}
    yield from (f"AIJob {name} is nobody's" for name in aijobs.keys() - rows.keys())
    yield from (f"{name} ({rows[name]['phase']}) has lost its AIJob" for name in rows.keys() - aijobs.keys())
    for name in aijobs.keys() & rows.keys():
        told, known = phase_of(aijobs[name]), rows[name]["phase"]
        if told != known or aijobs[name]["metadata"]["uid"] != rows[name]["object_uid"]:
            yield f"{name} is {known}, and {told} as an AIJob"
    yield from (f"Gang {name} is left over" for name in gangs if name.removeprefix("aijob-") not in aijobs)
    yield from (f"Service {name} is left over" for name in kube.items("services", namespace) if name not in aijobs)
    for name, pod in kube.items("pods", namespace).items():
        owner = aijobs.get(pod["metadata"]["labels"].get(JOB, ""))
        if owner is None or (_lives(pod) and phase_of(owner) in ENDED):
            yield f"pod {name} is left over"


def _lives(pod: Item) -> bool:
    return phase_of(pod) not in ("Succeeded", "Failed")


def missing_in_the_index(cluster: Cluster, namespace: str, jobs: Sequence[Row]) -> Iterator[str]:
    """Jobs of pools that wait in Postgres and that nobody would find by looking at Redis."""
    with Redis.from_url(cluster.store_url("redis"), socket_timeout=5, decode_responses=True) as redis:
        for queue in {job["queue"] for job in jobs if job["execution"] == "pool"}:
            told = set(redis.zrange(f"muster:{{{namespace}/{queue}}}:waiting", 0, -1))
            for job in jobs:
                is_here = job["execution"] == "pool" and job["queue"] == queue and job["phase"] == "Queued"
                if is_here and job["id"] not in told:
                    yield f"{job['name']} waits in queue {queue}, and the index does not know it"


def _by_job(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["job_id"]].append(row)
    return found
