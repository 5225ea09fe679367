"""What pools tell Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from muster_queue.rest.pool_service import Verdict
from muster_queue.storage.records import Claimed

_BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class PoolMetrics:
    """Counters of leases and of how they end."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._leases = Counter("muster_pool_leases_total", "Jobs handed to workers.", registry=registry)
        self._dispatch = Histogram(
            "muster_pool_dispatch_seconds",
            "From a job's place in the queue to its lease, by the database's clock.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self._acknowledgements = Counter(
            "muster_pool_acknowledgements_total",
            "Ends of attempts, by what became of them.",
            ("verdict",),
            registry=registry,
        )
        self.lost = Counter("muster_pool_lost_total", "Attempts that a worker was told to give up.", registry=registry)
        self.waiting = Gauge("muster_pool_waiting_workers", "Workers that wait for a job.", registry=registry)
        self.index_away = Counter(
            "muster_pool_index_away_total", "Looks at a queue that Postgres had to answer.", registry=registry
        )

    def leased(self, claimed: Sequence[Claimed]) -> None:
        self._leases.inc(len(claimed))
        for each in claimed:
            since = each.queued_at or each.created_at
            self._dispatch.observe(max(0.0, (each.claimed_at - since).total_seconds()))

    def acknowledged(self, verdicts: Sequence[Verdict]) -> None:
        for verdict in set(verdicts):
            self._acknowledgements.labels(verdict).inc(verdicts.count(verdict))
