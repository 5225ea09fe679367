"""What the api tells Prometheus about itself. Labels are names from our own tables, never from requests."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class RestMetrics:
    """Counters of requests, of how long they took, and of streams that are open."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "muster_api_requests_total",
            "Requests by operation ('other' for paths that do not exist) and status code.",
            ("operation", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "muster_api_request_seconds",
            "From the first byte to the whole answer, by operation; streams are left out.",
            ("operation",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self.streams = Gauge("muster_api_streams", "Streams of events and logs that are open.", registry=registry)
        self._counters: dict[tuple[str, int], Counter] = {}
        self._histograms: dict[str, Histogram] = {}

    def count(self, operation: str, status: int, seconds: float | None) -> None:
        key = (operation, status)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self._requests.labels(operation, str(status))
        counter.inc()
        if seconds is None:
            return
        histogram = self._histograms.get(operation)
        if histogram is None:
            histogram = self._histograms[operation] = self._seconds.labels(operation)
        histogram.observe(seconds)
