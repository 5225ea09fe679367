"""What goes into the index and what comes out of it."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum

import msgspec

from muster_queue.index.scores import submitted_at


class Entry(msgspec.Struct, frozen=True):
    """A job that waits, and the attempt that it waits for."""

    job: str
    score: int
    attempt: int = 1


class Lease(msgspec.Struct, frozen=True):
    """A job in somebody's hands; the attempt tells this lease from an earlier and a later one."""

    job: str
    attempt: int = 1


class Taken(msgspec.Struct, frozen=True):
    """What `take` handed out."""

    entries: tuple[Entry, ...] = ()
    until: datetime | None = None
    """When the leases end unless a heartbeat comes, on the server's clock."""


class Held(msgspec.Struct, frozen=True):
    """A lease that outlives a loss of the index: Postgres knows that somebody works on the job."""

    job: str
    attempt: int
    seconds: float
    """How long its holder has for the next heartbeat."""


class Answer(IntEnum):
    """What became of one lease of a batch."""

    DONE = 1
    UNKNOWN = 0
    """The index does not know the lease: lost, ended or withdrawn. Postgres says which."""
    STALE = -1
    """A later attempt exists; whoever asked has lost the job."""


class Whereabouts(IntEnum):
    """Where a withdrawn job was."""

    UNKNOWN = 0
    WAITING = 1
    LEASED = 2


class Depth(msgspec.Struct, frozen=True):
    """One queue at a glance, for metrics and backpressure."""

    now: datetime
    waiting: int
    leased: int
    overdue: int
    """Leases that ended and that nobody has asked for yet."""
    head: Entry | None
    """The job that `take` would hand out first; its attempt is not told."""
    oldest: datetime | None
    """When the longest waiting job of any priority was submitted."""

    @property
    def head_age_seconds(self) -> float:
        """How long the next job has waited; 0 when nothing waits."""
        return self._age(submitted_at(self.head.score)) if self.head else 0.0

    @property
    def oldest_age_seconds(self) -> float:
        """How long the longest waiting job has waited; 0 when nothing waits."""
        return self._age(self.oldest) if self.oldest else 0.0

    def _age(self, since: datetime) -> float:
        return max(0.0, (self.now - since).total_seconds())


class Charge(msgspec.Struct, frozen=True):
    """Whether a tenant may go on, and what a 429 has to say if not."""

    allowed: bool
    remaining: int
    retry_after_seconds: float


class Identity(msgspec.Struct, frozen=True):
    """Which server answers: it differs after a restart or a failover, and when something was evicted."""

    run: str
    evicted: int


class Marker(msgspec.Struct, frozen=True):
    """What was written when the queue was last complete."""

    epoch: str
    identity: Identity


class Examination(msgspec.Struct, frozen=True):
    """A marker beside what is true now."""

    marker: Marker | None
    identity: Identity
