"""What the clients of a campaign know of their jobs: what they were told, and what they cannot know."""

from __future__ import annotations

import random
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from bones.queue_orders import Kind, Order
from bones.queue_truth import Row


@dataclass
class Entry:
    """One job that somebody wanted."""

    order: Order
    job_id: str = ""
    """Told with 201."""
    is_an_object: bool = False
    """It was made with kubectl, and nobody has deleted it."""
    key: str = ""
    """It was submitted with, by itself."""
    is_cancelled: bool = False
    """Told with 200."""
    may_be_cancelled: bool = False
    """It was asked for, or its AIJob was deleted; whether in time nobody knows."""

    @property
    def is_acknowledged(self) -> bool:
        return bool(self.job_id)

    def ends(self, *, before_the_idle: bool) -> Collection[str]:
        """The phases that are right at rest; `before_the_idle` queue is worked on, its jobs wait."""
        if self.is_cancelled:
            return ("Cancelled",)
        end = "Queued" if before_the_idle and self.order.kind is Kind.POOL_IDLE else self.order.end
        return (end, "Cancelled") if self.may_be_cancelled else (end,)

    def complaints(self, rows: Sequence[Row], *, before_the_idle: bool) -> Iterator[str]:
        """About the jobs with its ticket: at most one, exactly one where somebody was told so, ended as ordered."""
        if len(rows) > 1:
            yield f"became {len(rows)} jobs: {[row['id'] for row in rows]}"
        if self.is_an_object and not rows:
            yield "was made with kubectl and is no job"
        if self.is_acknowledged and [row["id"] for row in rows] != [self.job_id]:
            yield f"was acknowledged as {self.job_id} and is {[row['id'] for row in rows]}"
        right = self.ends(before_the_idle=before_the_idle)
        for row in rows:
            if row["phase"] not in right:
                told = f"{row['reason']}: {row['message']}"
                yield f"({self.order.kind}) is {row['phase']} instead of {' or '.join(right)} ({told})"


@dataclass
class Ledger:
    """Shared by all clients."""

    entries: dict[str, Entry] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    """What no client should ever have been told."""
    lost_answers: int = 0
    replays: int = 0
    changes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self, order: Order) -> Entry:
        with self._lock:
            entry = self.entries[order.ticket] = Entry(order)
            return entry

    def acknowledge(self, ticket: str, job_id: str) -> None:
        """A job that is told twice has to be the same one."""
        with self._lock:
            entry = self.entries[ticket]
            if entry.job_id not in ("", job_id):
                self.complaints.append(f"{ticket} is job {entry.job_id} and job {job_id}")
            entry.job_id = job_id

    def complain(self, text: str) -> None:
        with self._lock:
            self.complaints.append(text)

    def count(self, what: str) -> None:
        with self._lock:
            setattr(self, what, getattr(self, what) + 1)

    def some_acknowledged(self, chance: random.Random) -> Entry | None:
        with self._lock:
            known = [entry for entry in self.entries.values() if entry.is_acknowledged]
        return chance.choice(known) if known else None

    def acknowledged(self) -> list[Entry]:
        with self._lock:
            return [entry for entry in self.entries.values() if entry.is_acknowledged]
