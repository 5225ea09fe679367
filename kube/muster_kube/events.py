"""Tells users on `kubectl describe` what happened, without ever slowing down or flooding whoever reports it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from uuid import uuid4

import structlog

from muster_kube.clock import Clock, SystemClock, rfc3339
from muster_kube.errors import ApiError
from muster_kube.resources import EVENTS
from muster_kube.writer import Writer

log = structlog.get_logger(__name__)

LONGEST_MESSAGE: Final = 1024
"""The API server refuses longer ones."""


class EventType(StrEnum):
    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The object that an event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    about: Reference
    type: EventType
    reason: str
    message: str


@dataclass(slots=True)
class TokenBucket:
    """So many at once, then so many a second; pure, with the time passed in."""

    rate: float
    burst: float
    tokens: float = field(init=False)
    updated: float | None = None

    def __post_init__(self) -> None:
        self.tokens = self.burst

    def take(self, now: float) -> float:
        """Takes a token, on credit if need be, and returns the seconds to wait before using it."""
        if self.updated is not None:
            self.tokens = min(self.burst, self.tokens + (now - self.updated) * self.rate)
        self.updated = now
        self.tokens -= 1.0
        return max(0.0, -self.tokens / self.rate)


class RecentReports:
    """Remembers the last reason told about each object, for as long as telling it again says nothing new."""

    def __init__(self, interval: float, capacity: int) -> None:
        self._interval = interval
        self._capacity = capacity
        self._last: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def is_news(self, report: Report, now: float) -> bool:
        """True when the object's reason changed, or was last told long ago."""
        key = report.about.uid or f"{report.about.namespace}/{report.about.name}"
        known = self._last.get(key)
        if known is not None and known[0] == report.reason and now - known[1] < self._interval:
            return False
        self._last[key] = (report.reason, now)
        self._last.move_to_end(key)
        if len(self._last) > self._capacity:
            self._last.popitem(last=False)
        return True


class EventRecorder:
    """`record` is a plain call that never waits; `run` is the supervised task that posts."""

    def __init__(
        self,
        writer: Writer,
        component: str,
        *,
        clock: Clock | None = None,
        rate: float = 20.0,
        burst: float = 100.0,
        capacity: int = 2000,
        repeat_after: float = 600.0,
    ) -> None:
        self.dropped = 0
        self.posted = 0
        self._writer = writer
        self._component = component
        self._clock = clock or SystemClock()
        self._bucket = TokenBucket(rate, burst)
        self._recent = RecentReports(repeat_after, capacity * 5)
        self._queue: asyncio.Queue[Report] = asyncio.Queue(capacity)

    def record(self, about: Reference, type_: EventType, reason: str, message: str) -> None:
        """Reports it unless the object's last event said the same; drops and counts when too much is waiting."""
        report = Report(about, type_, reason, message)
        if not self._recent.is_news(report, self._clock.monotonic()):
            return
        try:
            self._queue.put_nowait(report)
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        """Posts what was recorded, at the rate allowed, until cancelled."""
        while True:
            report = await self._queue.get()
            await asyncio.sleep(self._bucket.take(self._clock.monotonic()))
            await self._post(report)

    async def _post(self, report: Report) -> None:
        try:
            await self._writer.create(
                EVENTS.in_namespace(report.about.namespace or "default").collection, self._body(report)
            )
        except ApiError as error:
            # An event is worth no second attempt: the condition on the object says the same.
            self.dropped += 1
            log.warning("event not posted", reason=report.reason, error=str(error))
        else:
            self.posted += 1

    def _body(self, report: Report) -> dict[str, object]:
        now = rfc3339(self._clock.now())
        about = report.about
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{about.name}.{uuid4().hex[:16]}", "namespace": about.namespace or "default"},
            "involvedObject": {
                "apiVersion": about.api_version,
                "kind": about.kind,
                "namespace": about.namespace,
                "name": about.name,
                "uid": about.uid,
                "resourceVersion": about.resource_version,
            },
            "type": str(report.type),
            "reason": report.reason,
            "message": report.message[:LONGEST_MESSAGE],
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._component,
        }
