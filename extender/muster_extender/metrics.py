"""What the extender counts: few series, since rendering them stops the event loop that answers kube-scheduler."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.5, 2.0)
FILTER_OUTCOMES = ("accepted", "room", "rejected", "error")
VERBS = ("filter", "prioritize", "bind", "preempt")


class Metrics:
    """Every series of the process, its labels resolved beforehand."""

    def __init__(self, watchdog_kills: int = 0) -> None:
        self.registry = CollectorRegistry()
        filters = Counter(
            "muster_extender_filter",
            f"Filter answers; outcome is one of {', '.join(FILTER_OUTCOMES)}",
            ["outcome"],
            registry=self.registry,
        )
        seconds = Histogram(
            "muster_extender_handler_seconds",
            f"From the whole request to the answer; verb is one of {', '.join(VERBS)}; bind includes the barrier",
            ["verb"],
            registry=self.registry,
            buckets=_BUCKETS,
        )
        bindings = Counter(
            "muster_extender_bindings",
            "Bindings posted; outcome is bound or failed",
            ["outcome"],
            registry=self.registry,
        )
        self.filters = {outcome: filters.labels(outcome) for outcome in FILTER_OUTCOMES}
        self.seconds = {verb: seconds.labels(verb) for verb in VERBS}
        self._bindings = {True: bindings.labels("bound"), False: bindings.labels("failed")}
        self.parked = Gauge("muster_extender_parked", "Bind calls held at barriers", registry=self.registry)
        self.commits = Counter("muster_extender_commits", "Gangs committed by this process", registry=self.registry)
        self.aborts = Counter(
            "muster_extender_aborts",
            "Gangs given back by the barrier; reason as in the Gang",
            ["reason"],
            registry=self.registry,
        )
        self._staleness = Gauge(
            "muster_extender_reflector_staleness_seconds",
            "Seconds since the newest sign of life of the watch on a resource",
            ["resource"],
            registry=self.registry,
        )
        kills = Gauge(
            "muster_extender_watchdog_kills",
            "How often the watchdog has killed a silent server since its own start",
            registry=self.registry,
        )
        kills.set(watchdog_kills)

    def count_binding(self, *, is_bound: bool) -> None:
        self._bindings[is_bound].inc()

    def watch_staleness(self, resource: str, seconds: Callable[[], float]) -> None:
        """Reads the staleness of one reflector at each scrape."""
        self._staleness.labels(resource).set_function(seconds)
