"""What the reflectors do, told to Prometheus at scrape time: counting costs the watch nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from muster_kube.reflector import Reflector

_COUNTERS = {
    "events": "Watch events and listed objects taken in.",
    "lists": "Complete states taken in: the first, and one after each loss of history.",
    "watches": "Watches opened.",
    "failures": "Watches and lists that ended with an error.",
    "overflows": "Watches given up because the process fell too far behind.",
    "undecodable": "Objects left out because they could not be decoded.",
}


class ReflectorCollector(Collector):
    """Register it once per process: `registry.register(ReflectorCollector([pods, nodes]))`."""

    def __init__(self, reflectors: Sequence[Reflector[Any]]) -> None:
        self._reflectors = reflectors

    def collect(self) -> Iterator[Metric]:
        staleness = GaugeMetricFamily(
            "muster_reflector_staleness_seconds", "Age of the last sign of life, by resource.", labels=["resource"]
        )
        objects = GaugeMetricFamily("muster_reflector_objects", "Objects known, by resource.", labels=["resource"])
        for reflector in self._reflectors:
            name = str(reflector.resource)
            age = reflector.staleness()
            staleness.add_metric([name], age if math.isfinite(age) else math.inf)
            objects.add_metric([name], len(reflector.store))
        yield staleness
        yield objects
        yield from self._counters()

    def _counters(self) -> Iterator[Metric]:
        for field, text in _COUNTERS.items():
            family = CounterMetricFamily(f"muster_reflector_{field}", f"{text} By resource.", labels=["resource"])
            for reflector in self._reflectors:
                family.add_metric([str(reflector.resource)], getattr(reflector.statistics, field))
            yield family
