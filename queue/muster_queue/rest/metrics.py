"""What the api tells Prometheus about itself. Labels are names from our own tables, never from requests."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class _Durations:
    """How many requests took how long."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS) + 1)
        """For each bound those that are above the one before; the last are above all bounds."""
        self.sum = 0.0


class RestMetrics(Collector):
    """Counters of requests, of how long they took, and of streams that are open.

    Counted in plain numbers, which only the event loop writes: the client library's own counters lock twice a request.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.streams = Gauge("muster_api_streams", "Streams of events and logs that are open.", registry=registry)
        self._requests: Counter[tuple[str, int]] = Counter()
        self._durations: defaultdict[str, _Durations] = defaultdict(_Durations)
        registry.register(self)

    def count(self, operation: str, status: int, seconds: float | None) -> None:
        self._requests[operation, status] += 1
        if seconds is not None:
            durations = self._durations[operation]
            durations.counts[bisect_left(_BOUNDS, seconds)] += 1
            durations.sum += seconds

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "muster_api_requests_total",
            "Requests by operation ('other' for paths that do not exist) and status code.",
            labels=("operation", "status"),
        )
        for (operation, status), count in self._requests.copy().items():
            requests.add_metric((operation, str(status)), count)
        yield requests
        seconds = HistogramMetricFamily(
            "muster_api_request_seconds",
            "From the first byte to the whole answer, by operation; streams are left out.",
            labels=("operation",),
        )
        names = [*map(str, _BOUNDS), "+Inf"]
        for operation, durations in self._durations.copy().items():
            buckets = list(zip(names, accumulate(durations.counts), strict=True))
            seconds.add_metric((operation,), buckets, durations.sum)
        yield seconds
