"""A reckoning that never objected would be noticed: each rule of the queue's campaign is broken once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bones.queue_ledger import Entry, Ledger
from bones.queue_orders import Kind, Order
from bones.queue_truth import Row, Truth

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ORDER = Order("t-1", Kind.POOL, members=1, priority=50, rounds=1)
ID = "0190-a"


def moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else NOON + timedelta(seconds=seconds)


def job(**fields: Any) -> Row:
    usual = {"id": ID, "name": "one", "phase": "Succeeded", "labels": {"ticket": "t-1"}, "version": 3, "attempt": 1}
    return {**usual, "reason": "", "message": "", **fields}


def attempt(number: int, begin: float, end: float | None, outcome: str | None = "Succeeded") -> Row:
    return {"attempt": number, "started_at": moment(begin), "ended_at": moment(end), "outcome": outcome}


def event(version: int, source: str, target: str) -> Row:
    return {"version": version, "source": source, "target": target}


RUN = [event(2, "Queued", "Running"), event(3, "Running", "Succeeded")]


def complaints(row: Row, attempts: list[Row], events: list[Row]) -> str:
    return "\n".join(Truth([row], {ID: attempts}, {ID: events}).wrong_histories())


def test_a_right_history_is_not_complained_about() -> None:
    assert complaints(job(), [attempt(1, 0, 1)], RUN) == ""


@pytest.mark.parametrize(
    ("row", "attempts", "events", "text"),
    [
        (job(attempt=2), [attempt(1, 0, 1)], RUN, "has the attempts [1], and says 2"),
        (job(attempt=2), [attempt(1, 0, 5, "Queued"), attempt(2, 4, 6)], RUN, "attempt 1 reaches into the next"),
        (job(attempt=2), [attempt(1, 0, None, None), attempt(2, 4, 6)], RUN, "attempt 1 reaches into the next"),
        (job(), [attempt(1, 0, None)], RUN, "an attempt of it is open"),
        (job(attempt=2), [attempt(1, 0, 1), attempt(2, 2, 3)], RUN, "has succeeded 2 times"),
        (job(phase="Cancelled"), [attempt(1, 0, 1)], RUN, "has succeeded 1 times"),
        (job(), [], RUN, "has succeeded 0 times"),
        (job(version=4), [attempt(1, 0, 1)], RUN, "is version 4"),
        (job(), [attempt(1, 0, 1)], [RUN[0], event(3, "Queued", "Succeeded")], "went to Running and on from Queued"),
        (job(), [attempt(1, 0, 1)], [event(3, "Queued", "Running")], "went to Running in the end"),
    ],
)
def test_a_wrong_history_is_complained_about(row: Row, attempts: list[Row], events: list[Row], text: str) -> None:
    assert text in complaints(row, attempts, events)


@pytest.mark.parametrize(
    ("entry", "rows", "text"),
    [
        (Entry(ORDER, job_id=ID), [], f"was acknowledged as {ID} and is []"),
        (Entry(ORDER, is_an_object=True), [], "was made with kubectl and is no job"),
        (Entry(ORDER, job_id="0190-b"), [job()], "was acknowledged as 0190-b"),
        (Entry(ORDER), [job(), job(id="0190-b")], "became 2 jobs"),
        (Entry(ORDER, job_id=ID), [job(phase="Running")], "is Running instead of Succeeded"),
        (Entry(ORDER, job_id=ID), [job(phase="Cancelled")], "is Cancelled instead of Succeeded"),
        (Entry(ORDER, job_id=ID, is_cancelled=True), [job()], "is Succeeded instead of Cancelled"),
    ],
)
def test_a_wrong_end_is_complained_about(entry: Entry, rows: list[Row], text: str) -> None:
    assert any(text in complaint for complaint in entry.complaints(rows, before_the_idle=True))


@pytest.mark.parametrize(
    ("entry", "rows"),
    [
        (Entry(ORDER, job_id=ID), [job()]),
        (Entry(ORDER), []),
        (Entry(ORDER), [job()]),
        (Entry(ORDER, job_id=ID, may_be_cancelled=True), [job(phase="Cancelled")]),
        (Entry(ORDER, job_id=ID, is_cancelled=True), [job(phase="Cancelled")]),
    ],
)
def test_a_right_end_is_not_complained_about(entry: Entry, rows: list[Row]) -> None:
    assert list(entry.complaints(rows, before_the_idle=True)) == []


def test_a_job_that_is_told_as_two_is_complained_about() -> None:
    ledger = Ledger()
    ledger.open(ORDER)
    ledger.acknowledge("t-1", ID)
    ledger.acknowledge("t-1", ID)
    assert not ledger.complaints
    ledger.acknowledge("t-1", "0190-b")
    assert ledger.complaints
