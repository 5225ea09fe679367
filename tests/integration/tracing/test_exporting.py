"""Spans on their way to a collector, with OpenTelemetry's own SDK, and what a broken one costs: nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from bones.span_receiver import SpanReceiver, span_receiver
from muster_kube import tracing as module
from muster_kube.tracing import NO_SPAN, follow, over, tracing

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[SpanReceiver]:
    with span_receiver(monkeypatch) as running:
        yield running


async def test_spans_arrive_with_their_parents_once_the_process_ends(receiver: SpanReceiver) -> None:
    async with tracing("muster-test") as tracer:
        outer = tracer.begin("outer", TRACEPARENT, {"muster.job": "one", "muster.jobs": 3})
        inner = follow(tracer, "inner", outer.context)
        inner.end("it broke")
        outer.end()
        root = tracer.begin("root", "no trace at all")
        root.end()
    (one,), (two,), (three,) = (receiver.named(name) for name in ("outer", "inner", "root"))
    assert (one.service, one.trace, one.parent) == ("muster-test", TRACE, PARENT)
    assert one.attributes == {"muster.job": "one", "muster.jobs": 3}
    assert outer.context == f"{one.context}-01"
    assert (two.trace, two.parent, two.error, one.error) == (TRACE, one.own, "it broke", None)
    assert three.parent == "" and three.trace != TRACE


async def test_a_span_may_have_begun_long_ago(receiver: SpanReceiver) -> None:
    async with tracing("muster-test") as tracer:
        follow(tracer, "waited", TRACEPARENT, since=datetime.now(UTC) - timedelta(hours=1)).end()
    (waited,) = receiver.named("waited")
    assert 3600 <= waited.seconds < 3700


async def test_what_the_request_does_not_sample_is_handed_on_and_not_sent(receiver: SpanReceiver) -> None:
    async with tracing("muster-test") as tracer:
        span = tracer.begin("one", f"00-{TRACE}-{PARENT}-00")
        assert span.context is not None and span.context.startswith(f"00-{TRACE}-") and span.context.endswith("-00")
        span.end()
    assert receiver.spans == []


async def test_the_environment_may_name_the_process(receiver: SpanReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "jobs-of-the-north")
    async with tracing("muster-test") as tracer:
        tracer.begin("one", None).end()
    assert [span.service for span in receiver.spans] == ["jobs-of-the-north"]


async def test_an_error_ends_its_span_and_goes_on(receiver: SpanReceiver) -> None:
    async with tracing("muster-test") as tracer:
        with contextlib.suppress(KeyError), over(tracer.begin("one", None)):
            raise KeyError("secret")
    assert [span.error for span in receiver.spans] == ["KeyError"]


async def test_a_collector_that_never_answers_holds_nobody_up(
    receiver: SpanReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_FLUSH", 0.1)
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    receiver.is_open.clear()
    async with asyncio.timeout(60):
        async with tracing("muster-test") as tracer:
            for number in range(1000):
                tracer.begin(f"span {number}", None).end()
    assert not receiver.is_open.is_set(), "all of this was done while nobody answered"
    assert receiver.spans == []


async def test_a_collector_that_refuses_is_no_failure_of_ours(receiver: SpanReceiver) -> None:
    receiver.status = 400
    async with tracing("muster-test") as tracer:
        tracer.begin("one", None).end()
    assert receiver.spans == []


async def test_what_the_sdk_does_not_take_costs_the_span_alone(
    receiver: SpanReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tracing("muster-test") as tracer:
        with monkeypatch.context() as broken:
            broken.setattr(module, "_traceparent", None)
            assert tracer.begin("one", None) is NO_SPAN
        tracer.begin("two", None).end()
    assert [span.name for span in receiver.spans] == ["two"]


async def test_variables_that_make_no_sense_turn_it_off(
    receiver: SpanReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4000")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
    async with tracing("muster-test") as tracer:
        assert not tracer.is_on
