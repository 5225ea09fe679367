"""Spans of what a process does for a job, exported over OTLP where the extra `tracing` and an endpoint are there.

Without them nothing is imported, and a span costs one call that does nothing. With them it goes into a bounded queue
that a thread of the SDK empties; whatever fails there, or finds the queue full, costs the span and nothing else.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime
from importlib import import_module
from typing import Any, Final, Protocol

import structlog

from muster_api.traces import read_traceparent

log = structlog.get_logger(__name__)

Attributes = Mapping[str, str | int]

EXPORTER_VARIABLE: Final = "OTEL_TRACES_EXPORTER"
ENDPOINT_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
DISABLED_VARIABLE: Final = "OTEL_SDK_DISABLED"
SERVICE_VARIABLE: Final = "OTEL_SERVICE_NAME"
_NOBODY: Final[Attributes] = {}
LONGEST_FLUSH: Final = 3.0
"""At the end of a process: it has more important promises to keep than its last spans."""
LAST_SPANS: Final = "last spans"
"""The thread that sends them."""


class Span(Protocol):
    """Something that takes time."""

    context: str | None
    """What its children name as their parent; None where nobody traces."""

    def end(self, error: str = "") -> None:
        """It is over; a text says what went wrong."""


class Tracer(Protocol):
    """Neither call raises or waits, whatever becomes of the spans."""

    is_on: bool

    def begin(
        self, name: str, parent: str | None, attributes: Attributes = _NOBODY, *, since: datetime | None = None
    ) -> Span:
        """A span that has begun now, or then; without a valid parent it begins a trace of its own."""


class _NoSpan:
    context: str | None = None

    def end(self, error: str = "") -> None:
        return


class _NoTracer:
    is_on = False

    def begin(
        self, name: str, parent: str | None, attributes: Attributes = _NOBODY, *, since: datetime | None = None
    ) -> Span:
        return NO_SPAN


NO_SPAN: Final[Span] = _NoSpan()
NO_TRACER: Final[Tracer] = _NoTracer()


def follow(
    tracer: Tracer, name: str, parent: str | None, attributes: Attributes = _NOBODY, *, since: datetime | None = None
) -> Span:
    """A span of a trace that is there already; where there is none, none is begun."""
    return NO_SPAN if parent is None else tracer.begin(name, parent, attributes, since=since)


@contextmanager
def over(span: Span) -> Iterator[None]:
    """Ends the span with the block, and tells by which error if it is one."""
    try:
        yield
    except BaseException as error:
        span.end(type(error).__name__)
        raise
    span.end()


@asynccontextmanager
async def tracing(service: str) -> AsyncIterator[Tracer]:
    """The tracer of a process; what it still has is sent at the end, for a moment."""
    exporting = _exporting(service, os.environ)
    try:
        yield exporting or NO_TRACER
    finally:
        if exporting is not None:
            await exporting.close()


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Whether somebody has said where spans are to go, in OpenTelemetry's own variables."""
    if environment.get(DISABLED_VARIABLE, "").strip().lower() == "true":
        return False
    exporter = environment.get(EXPORTER_VARIABLE, "").strip().lower()
    if exporter:
        return "otlp" in exporter.split(",")
    return any(environment.get(name, "").strip() for name in ENDPOINT_VARIABLES)


class _OpenSpan:
    def __init__(self, span: Any, context: str, status: Callable[[str], Any]) -> None:
        self.context: str | None = context
        self._span = span
        self._status = status

    def end(self, error: str = "") -> None:
        with suppress(Exception):
            if error:
                self._span.set_status(self._status(error))
            self._span.end()


class _ExportingTracer:
    """OpenTelemetry's SDK, seen through what is needed of it: it is not there where nothing is checked against it."""

    is_on = True

    def __init__(self, service: str, environment: Mapping[str, str]) -> None:
        trace, sdk = import_module("opentelemetry.trace"), import_module("opentelemetry.sdk.trace")
        resources, export = (
            import_module("opentelemetry.sdk.resources"),
            import_module("opentelemetry.sdk.trace.export"),
        )
        otlp = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        self._trace = trace
        self._empty = import_module("opentelemetry.context").Context()
        # Whoever names the process in the environment knows better what it is called.
        name = environment.get(SERVICE_VARIABLE, "").strip() or service
        resource = resources.Resource.create({"service.name": name})
        self._provider = sdk.TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(export.BatchSpanProcessor(otlp.OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("muster")
        self._has_failed = False

    def begin(
        self, name: str, parent: str | None, attributes: Attributes = _NOBODY, *, since: datetime | None = None
    ) -> Span:
        try:
            return self._begin(name, parent, attributes, since)
        except Exception as error:
            if not self._has_failed:
                self._has_failed = True
                log.warning("spans cannot be made", exc_info=error)
            return NO_SPAN

    async def close(self) -> None:
        """Sends what is left, in a thread that nobody waits for any longer than that."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            with suppress(Exception):
                self._provider.shutdown()
            with suppress(RuntimeError):  # the loop has not waited
                loop.call_soon_threadsafe(done.set)

        threading.Thread(target=shut_down, name=LAST_SPANS, daemon=True).start()
        with suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), LONGEST_FLUSH)

    def _begin(self, name: str, parent: str | None, attributes: Attributes, since: datetime | None) -> Span:
        start = None if since is None else int(since.timestamp() * 1e9)
        # Never the context that happens to surround the call.
        around = self._around(parent)
        span = self._tracer.start_span(name, context=around, attributes=attributes, start_time=start)
        context = span.get_span_context()
        return _OpenSpan(span, _traceparent(context.trace_id, context.span_id, context.trace_flags), self._error)

    def _around(self, parent: str | None) -> Any:
        valid = read_traceparent(parent)
        if valid is None:
            return self._empty
        _, trace_id, span_id, flags = valid.split("-")
        remote = self._trace.SpanContext(
            int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=self._trace.TraceFlags(int(flags, 16))
        )
        return self._trace.set_span_in_context(self._trace.NonRecordingSpan(remote), self._empty)

    def _error(self, text: str) -> Any:
        return self._trace.Status(self._trace.StatusCode.ERROR, text)


def _traceparent(trace_id: int, span_id: int, flags: int) -> str:
    return f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}"


def _exporting(service: str, environment: Mapping[str, str]) -> _ExportingTracer | None:
    if not is_wanted(environment):
        return None
    try:
        return _ExportingTracer(service, environment)
    except ImportError as error:
        log.warning("no spans are exported: install the extra `tracing`", missing=error.name)
    except Exception as error:
        log.warning("no spans are exported", exc_info=error)
    return None
