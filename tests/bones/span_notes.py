"""A tracer that only remembers, for tests of who begins which span below which parent."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from muster_kube.tracing import Attributes

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class NotedSpan:
    name: str
    parent: str | None
    attributes: Attributes
    since: datetime | None
    context: str | None
    error: str | None = None
    """None until it has ended."""

    def end(self, error: str = "") -> None:
        assert self.error is None, "ended twice"
        self.error = error


@dataclass
class SpanNotes:
    spans: list[NotedSpan] = field(default_factory=list)
    is_on: bool = True

    def begin(
        self, name: str, parent: str | None, attributes: Attributes | None = None, *, since: datetime | None = None
    ) -> NotedSpan:
        trace = parent.split("-")[1] if parent else f"{len(self.spans) + 1:032x}"
        context = f"00-{trace}-{len(self.spans) + 1:016x}-01"
        span = NotedSpan(name, parent, attributes or {}, since, context)
        self.spans.append(span)
        return span
