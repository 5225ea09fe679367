"""A collector on loopback: takes spans by OTLP over HTTP and keeps them, or is as broken as it is told to be."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

from muster_kube.tracing import LAST_SPANS

VARIABLES = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED", "OTEL_SERVICE_NAME")
"""What a developer's own environment may say, and a test must not hear."""


SENT_SECONDS = 30.0


@dataclass(frozen=True)
class ReceivedSpan:
    service: str
    name: str
    trace: str
    own: str
    parent: str
    attributes: dict[str, Any]
    seconds: float
    error: str | None

    @property
    def context(self) -> str:
        """Up to its flags."""
        return f"00-{self.trace}-{self.own}"


class SpanReceiver:
    def __init__(self) -> None:
        self.spans: list[ReceivedSpan] = []
        self.status = 200
        self.is_open = threading.Event()
        """Until then nobody is answered."""
        self.is_open.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def named(self, name: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.name == name]

    def __enter__(self) -> SpanReceiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Takes what is still on its way: an exporter that nobody answers tries again, into the tests that follow."""
        self.is_open.set()
        for thread in threading.enumerate():
            if thread.name == LAST_SPANS:
                thread.join(SENT_SECONDS)
                assert not thread.is_alive()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.is_open.wait()
                if receiver.status == 200 and self.path == "/v1/traces":
                    receiver.spans += _spans_in(body)
                self.send_response(receiver.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        return Handler


@contextmanager
def span_receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[SpanReceiver]:
    """One that whoever makes a tracer now sends to; where the extra is missing the test is skipped."""
    if find_spec("opentelemetry") is None:
        assert os.environ.get("CI") != "true", "the extra `tracing` has to be tested"
        pytest.skip("the extra `tracing` is not installed")
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with SpanReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        yield receiver


def _spans_in(body: bytes) -> Iterator[ReceivedSpan]:
    service = import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    request = service.ExportTraceServiceRequest.FromString(body)
    for resource in request.resource_spans:
        name = _attributes(resource.resource.attributes)["service.name"]
        for span in [span for scope in resource.scope_spans for span in scope.spans]:
            yield ReceivedSpan(
                service=name,
                name=span.name,
                trace=span.trace_id.hex(),
                own=span.span_id.hex(),
                parent=span.parent_span_id.hex(),
                attributes=_attributes(span.attributes),
                seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                error=span.status.message if span.status.code == 2 else None,
            )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
