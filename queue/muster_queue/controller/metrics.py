"""What the controller counts; every label has a handful of values, all of them named in the help text."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from muster_queue.controller.census import Census
from muster_queue.jobs.endpoints import Deed

STAGES = ("snapshot", "plan", "reserve", "release", "report")
LEADER_BUCKETS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.2, 1.0)
BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0)


class Metrics:
    """One instance per process, made in the composition root."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.leader = Gauge("muster_leader", "1 while this process leads, else 0.", registry=registry)
        stages = Histogram(
            "muster_cycle_stage_seconds",
            f"Duration of each stage of a planning cycle, by stage: {', '.join(STAGES)}.",
            ["stage"],
            buckets=BUCKETS,
            registry=registry,
        )
        self.stages = {stage: stages.labels(stage) for stage in STAGES}
        self.leader_time = Histogram(
            "muster_gang_leader_seconds",
            "Time of the leader that a gang took before its commit: looks at it, and its share of every plan.",
            buckets=LEADER_BUCKETS,
            registry=registry,
        )
        self.aborts = Counter(
            "muster_aborts", "Reservations taken back before the commit, by reason.", ["reason"], registry=registry
        )
        self.tickets = Counter("muster_tickets", "Release tickets written.", registry=registry)
        self.reservations = Counter("muster_reservations", "Plans written to gangs and pods.", registry=registry)
        self.object_errors = Counter(
            "muster_object_errors", "Objects that could not be handled and were left aside.", registry=registry
        )
        self.slice_writes = Counter(
            "muster_endpoint_slice_writes",
            f"EndpointSlices of jobs written, by deed: {', '.join(Deed)}.",
            ["deed"],
            registry=registry,
        )
        self.stale_cycles = Counter(
            "muster_stale_cycles", "Cycles without planning because a cache was too old.", registry=registry
        )


class GangCollector(Collector):
    """Gangs that wait and gangs that stand in part, counted at scrape time."""

    def __init__(self, census: Callable[[], Census]) -> None:
        self._census = census

    def collect(self) -> Iterator[Metric]:
        census = self._census()
        pending = GaugeMetricFamily("muster_pending_gangs", "Gangs that wait, by dominant reason.", labels=["reason"])
        for reason, count in sorted(census.pending.items()):
            pending.add_metric([reason], count)
        yield pending
        yield GaugeMetricFamily(
            "muster_oldest_pending_age_seconds", "How long the oldest waiting gang has waited.", value=census.oldest
        )
        yield GaugeMetricFamily(
            "muster_partial_gangs", "Gangs with some members bound, but fewer than needed.", value=census.partial
        )
