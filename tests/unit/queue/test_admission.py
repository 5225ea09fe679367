"""The span that says how long a gang had waited before its tickets were out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest

from bones.gang_store import GangStore, make_hands
from bones.gang_views import TERM, make_gang
from bones.job_views import START, make_job
from bones.span_notes import TRACE, SpanNotes
from muster_api.jobs import AIJob
from muster_api.names import TRACE_ANNOTATION
from muster_api.phases import GangPhase
from muster_queue.controller import statuses
from muster_queue.controller.admission import trace_admission
from muster_queue.controller.performing import Performer
from muster_queue.controller.steps import Move

TRACED = {TRACE_ANNOTATION: TRACE}
LATER = "2026-01-01T00:05:00Z"


@pytest.mark.parametrize(
    ("job", "since"),
    [
        (make_job(annotations=TRACED), START),
        (make_job(annotations=TRACED, status={"queued_time": LATER}), datetime(2026, 1, 1, 0, 5, tzinfo=UTC)),
        (make_job(annotations=TRACED, status={"queued_time": "yesterday"}), None),
    ],
    ids=["since it was made", "since it was queued again", "since nobody knows when"],
)
def test_it_begins_when_the_job_was_queued(job: AIJob, since: datetime | None) -> None:
    notes = SpanNotes()
    trace_admission(notes, job, make_gang())
    (span,) = notes.spans
    assert (span.name, span.parent, span.since, span.error) == ("gang admitted", TRACE, since, "")
    assert (span.attributes["muster.namespace"], span.attributes["muster.job"]) == ("team", "train")


@pytest.mark.parametrize("annotations", [{}, {TRACE_ANNOTATION: "nonsense"}])
def test_a_job_without_a_trace_gets_none(annotations: dict[str, str]) -> None:
    notes = SpanNotes()
    trace_admission(notes, make_job(annotations=annotations), make_gang())
    assert notes.spans == []


async def test_it_is_told_once_the_release_is_written() -> None:
    reserved = make_gang(GangPhase.RESERVED)
    store, notes = GangStore(reserved), SpanNotes()
    hands = replace(make_hands(store), tracer=notes)
    group = hands.world.groups[reserved.key]
    group.job = make_job(annotations=TRACED)
    outdated = msgspec.structs.replace(
        reserved, metadata=msgspec.structs.replace(reserved.metadata, resource_version="other")
    )
    move = Move(statuses.released(reserved.status), "released")
    await Performer(hands, TERM).perform(group, move, outdated)
    assert notes.spans == []
    await Performer(hands, TERM).perform(group, move, reserved)
    assert [span.name for span in notes.spans] == ["gang admitted"]
