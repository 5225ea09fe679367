"""Noticing that a store was emptied, replaced or evicted from: markers that are written when all is there."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

import msgspec

from muster_queue.index.calls import Calls
from muster_queue.index.errors import RebuildLost
from muster_queue.index.keys import GLOBAL_MARKER, GLOBAL_REBUILD, QueueKey
from muster_queue.index.values import Examination, Identity, Marker

PATIENCE_SECONDS: Final = 20.0
"""After which a rebuild without a sign of life is over, and somebody else may begin one."""


class Place(msgspec.Struct, frozen=True):
    """Where a marker lies and the token of its rebuild."""

    marker: str
    rebuild: str


WHOLE: Final = Place(GLOBAL_MARKER, GLOBAL_REBUILD)
"""Of the whole index: one question tells that everything is gone."""


def place_of(queue: QueueKey) -> Place:
    """Of one queue: a cluster may lose one of its nodes, a server one of its keys."""
    return Place(queue.marker, queue.rebuild)


async def examine(calls: Calls, place: Place) -> Examination:
    """Reads a marker beside what is true now of the server that it lies on."""
    run, evicted, epoch, marked_run, marked_evicted = await calls.run("examine", (place.marker,), ())
    marker = Marker(epoch, Identity(marked_run, int(marked_evicted))) if epoch else None
    return Examination(marker, Identity(run, int(evicted)))


class Rebuild:
    """A rebuild under way. Its marker is written at the end, and only if nothing was lost since the beginning.

    The token is the reconciler's own, so that it can begin anew at once what it had to break off.
    """

    def __init__(self, calls: Calls, place: Place, identity: Identity, token: str) -> None:
        self._calls = calls
        self._place = place
        self._identity = identity
        self._token = token

    async def begin(self) -> bool:
        """False while somebody else rebuilds."""
        return bool(await self._calls.run("begin_rebuild", (self._place.rebuild,), (self._token, _patience())))

    async def go_on(self) -> None:
        """A sign of life after each batch; raises RebuildLost when there is no more sense in going on."""
        if not await self._calls.run("continue_rebuild", (self._place.rebuild,), (self._token, _patience())):
            raise RebuildLost(self._place.rebuild)

    async def end(self) -> None:
        """Writes the marker; raises RebuildLost when something was lost meanwhile."""
        arguments = (self._token, uuid4().hex, self._identity.run, self._identity.evicted)
        if not await self._calls.run("end_rebuild", (self._place.rebuild, self._place.marker), arguments):
            raise RebuildLost(self._place.rebuild)


def _patience() -> int:
    return round(PATIENCE_SECONDS * 1000)
