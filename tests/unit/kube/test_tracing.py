"""Where no spans are wanted none are made, and whatever is wrong with them stays without consequences."""

from __future__ import annotations

import sys
from typing import NoReturn

import pytest

from muster_kube.tracing import NO_SPAN, NO_TRACER, follow, is_wanted, over, tracing

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, False),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "TRUE"}, False),
    ],
)
def test_spans_are_wanted_where_the_usual_variables_say_so(environment: dict[str, str], *, wanted: bool) -> None:
    assert is_wanted(environment) is wanted


async def test_without_an_endpoint_nothing_is_made_or_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    async with tracing("muster-test") as tracer:
        assert tracer is NO_TRACER and not tracer.is_on
        assert tracer.begin("one", None) is tracer.begin("two", TRACE) is NO_SPAN
        assert NO_SPAN.context is None


async def test_without_the_extra_the_process_runs_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("OTEL_TRACES_EXPORTER", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    async with tracing("muster-test") as tracer:
        assert tracer is NO_TRACER
    assert "install the extra `tracing`" in capsys.readouterr().out


def test_a_span_that_only_follows_is_none_where_there_is_no_trace() -> None:
    assert follow(_Refusing(), "one", None) is NO_SPAN


def test_a_failure_within_a_span_stays_that_failure() -> None:
    with pytest.raises(KeyError), over(NO_SPAN):
        raise KeyError


class _Refusing:
    is_on = True

    def begin(self, *_: object, **__: object) -> NoReturn:
        raise AssertionError
