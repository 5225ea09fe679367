"""What the leader counts of the queue service; every label has a handful of values."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

LATENCY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
PARTS = (
    "due",
    "expired",
    "housekeeping",
    "index",
    "materialise",
    "measure",
    "mirror",
    "relay",
    "scan",
    "seal",
    "wishes",
)
STEPS = ("Adopt", "Carried", "Carry", "Claim", "Delete", "Shift", "Tell")


class DispatchMetrics:
    """One instance per process, made in the composition root."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.materialised = Counter("muster_dispatch_materialised", "AIJobs made of stored jobs.", registry=registry)
        self.imported = Counter("muster_dispatch_imported", "AIJobs of kubectl that were stored.", registry=registry)
        self.refused = Counter(
            "muster_dispatch_refused", "Jobs that could not become AIJobs, and have failed.", registry=registry
        )
        self.latency = Histogram(
            "muster_dispatch_latency_seconds",
            "Time from when a job was queued until its AIJob was made.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.steps = Counter(
            "muster_dispatch_steps",
            f"Steps that brought jobs and AIJobs to agree, by kind: {', '.join(STEPS)}.",
            ["kind"],
            registry=registry,
        )
        self.scans = Counter("muster_dispatch_scans", "Comparisons of all jobs with all AIJobs.", registry=registry)
        self.drift = Counter(
            "muster_dispatch_drift", "Differences that only such a comparison has found.", registry=registry
        )
        self.failures = Counter(
            "muster_dispatch_failures",
            f"Rounds that a store or the API server has ended, by part: {', '.join(PARTS)}.",
            ["part"],
            registry=registry,
        )
        self.uncompared = Gauge(
            "muster_dispatch_uncompared_jobs", "AIJobs that have changed and are not written down.", registry=registry
        )
        self.head_of_queue = Gauge(
            "muster_queue_head_of_queue_age_seconds",
            "How long the oldest of the jobs exists that go next in their queues.",
            registry=registry,
        )
        self.relay_backlog = Gauge(
            "muster_relay_backlog", "About how many commits the index has not been told of.", registry=registry
        )
        self.relay_age = Gauge("muster_relay_oldest_age_seconds", "Age of the oldest of these.", registry=registry)
        self.due = Counter("muster_dispatch_due", "Jobs whose back-off or time was over.", registry=registry)
        self.expired = Counter(
            "muster_dispatch_expired_leases", "Attempts whose worker fell silent.", registry=registry
        )
        self.index_drift = Gauge(
            "muster_index_drift_jobs", "Jobs by which the index differs from Postgres, all queues.", registry=registry
        )
