"""What is worth an event, and how many are sent."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from bones.clock import ManualClock
from bones.scripted_api_server import refuses, says, scripted
from muster_kube.events import EventRecorder, EventType, RecentReports, Reference, Report, TokenBucket
from muster_kube.session import ApiSession
from muster_kube.writer import Writer

POD = Reference(api_version="v1", kind="Pod", namespace="ns", name="pod", uid="uid-1")
OTHER = Reference(api_version="v1", kind="Pod", namespace="ns", name="other", uid="uid-2")


def report(about: Reference, reason: str) -> Report:
    return Report(about, EventType.NORMAL, reason, "message")


def test_only_a_changed_reason_or_a_long_time_is_news() -> None:
    recent = RecentReports(interval=600, capacity=10)
    assert recent.is_news(report(POD, "Waiting"), 0)
    assert not recent.is_news(report(POD, "Waiting"), 599)
    assert recent.is_news(report(OTHER, "Waiting"), 599)
    assert recent.is_news(report(POD, "Placed"), 599)
    assert recent.is_news(report(POD, "Waiting"), 599)
    assert recent.is_news(report(POD, "Waiting"), 1300)


def test_memory_is_bounded() -> None:
    recent = RecentReports(interval=600, capacity=1)
    assert recent.is_news(report(POD, "Waiting"), 0)
    assert recent.is_news(report(OTHER, "Waiting"), 0)
    assert recent.is_news(report(POD, "Waiting"), 0), "forgotten, so told again"


def test_bucket_allows_a_burst_and_then_a_rate() -> None:
    bucket = TokenBucket(rate=2.0, burst=3.0)
    assert [bucket.take(0.0) for _ in range(5)] == [0.0, 0.0, 0.0, 0.5, 1.0]
    assert bucket.take(10.0) == 0.0


async def test_events_are_posted_and_failures_counted(tmp_path: Path) -> None:
    script = (says(201, {}), refuses(403, "Forbidden"), says(201, {}))
    async with scripted(*script) as server, await ApiSession.connect(server.write_kubeconfig(tmp_path)) as session:
        recorder = EventRecorder(Writer(session), "tester", clock=ManualClock())
        for reason in ("One", "One", "Two", "Three"):
            recorder.record(POD, EventType.WARNING, reason, "m" * 5000)
        with suppress(TimeoutError):
            await asyncio.wait_for(recorder.run(), 0.5)
    assert (recorder.posted, recorder.dropped) == (2, 1)
    assert server.requests[0].path == "/api/v1/namespaces/ns/events"


async def test_full_queue_drops_and_counts(tmp_path: Path) -> None:
    async with scripted() as server, await ApiSession.connect(server.write_kubeconfig(tmp_path)) as session:
        recorder = EventRecorder(Writer(session), "tester", capacity=2)
        for number in range(5):
            recorder.record(POD, EventType.NORMAL, f"Reason{number}", "")
        assert recorder.dropped == 3
