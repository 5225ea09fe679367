"""What the reconciler has to know from Postgres; whoever composes the service hands it in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

import msgspec

from muster_queue.index.keys import QueueKey
from muster_queue.index.values import Entry, Held


class Tally(msgspec.Struct, frozen=True):
    """How many jobs of a queue belong into the index."""

    queue: QueueKey
    waiting: int
    leased: int = 0


class Truth(Protocol):
    """Postgres, as the reconciler sees it. Each page may be read in a transaction of its own.

    What cannot be asked now raises TruthAway.
    """

    def queues(self) -> AsyncIterator[Tally]:
        """Every queue that has or had jobs; the counts may be some seconds old."""
        ...

    def pages(self, queue: QueueKey) -> AsyncIterator[Sequence[Entry | Held]]:
        """All jobs of a queue that belong into the index, waiting or in somebody's hands."""
        ...

    async def among(self, queue: QueueKey, jobs: Sequence[str]) -> Mapping[str, Entry | Held]:
        """Of these jobs the ones that belong into the index, as they are now."""
        ...
