"""What the service tells Prometheus: its queues, its intake, its connections. Read when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from muster_kube.clock import Clock
from muster_queue.intake.intake import Intake
from muster_queue.service.counting import Place, QueueCounts, Tally
from muster_queue.service.index_feed import IndexFeed

MOST_QUEUES: Final = 500
"""Told one by one, the fullest first: users can name queues that nobody has written."""
STATES: Final = ("queued", "started", "parked", "dead_letter")


class ServiceCollector(Collector):
    """Register it once for each process."""

    def __init__(
        self,
        counts: QueueCounts,
        intake: Intake,
        feed: IndexFeed,
        connections: Callable[[], Mapping[str, int]],
        clock: Clock,
    ) -> None:
        self._counts = counts
        self._intake = intake
        self._feed = feed
        self._connections = connections
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        yield from self._queues()
        yield GaugeMetricFamily(
            "muster_intake_waiting_jobs", "Jobs that are not committed yet.", value=self._intake.waiting_jobs
        )
        yield CounterMetricFamily(
            "muster_index_untold_commits", "Commits left to the relay to tell the index of.", value=self._feed.dropped
        )
        pool = self._connections()
        yield GaugeMetricFamily(
            "muster_database_connections", "Connections to Postgres.", value=pool.get("pool_size", 0)
        )
        yield GaugeMetricFamily(
            "muster_database_requests_waiting", "Callers that wait for one.", value=pool.get("requests_waiting", 0)
        )
        yield CounterMetricFamily(
            "muster_database_connections_lost", "Connections that were lost.", value=pool.get("connections_lost", 0)
        )

    def _queues(self) -> Iterator[Metric]:
        names = ["namespace", "queue"]
        jobs = GaugeMetricFamily(
            "muster_queue_jobs", f"Jobs by queue and state ({', '.join(STATES)}).", labels=[*names, "state"]
        )
        oldest = GaugeMetricFamily(
            "muster_queue_oldest_pending_age_seconds", "How long the oldest queued job has waited.", labels=names
        )
        now = self._clock.now()
        fullest = sorted(self._counts.last.items(), key=_fullness)[:MOST_QUEUES]
        for place, tally in fullest:
            count = tally.count
            for state, value in zip(
                STATES, (count.queued, count.started, count.parked, count.dead_letters), strict=True
            ):
                jobs.add_metric([*place, state], value)
            age = (now - tally.oldest_queued).total_seconds() if tally.oldest_queued else 0.0
            oldest.add_metric(list(place), max(0.0, age))
        yield jobs
        yield oldest


def _fullness(item: tuple[Place, Tally]) -> tuple[int, Place]:
    place, tally = item
    return -tally.count.active - tally.count.parked, place
