"""How many unknown tokens are looked at: token buckets, one for each peer and one for all."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

MOST_PEERS: Final = 10_000


class Pace(msgspec.Struct, frozen=True):
    """So many a second, and so many at once after a pause."""

    rate: float
    burst: float


class _Bucket(msgspec.Struct):
    level: float
    filled_at: float

    def take(self, pace: Pace, now: float) -> float:
        """Zero when one was taken, else in how many seconds there is one."""
        self.level = min(pace.burst, self.level + (now - self.filled_at) * pace.rate)
        self.filled_at = now
        if self.level >= 1.0:
            self.level -= 1.0
            return 0.0
        return (1.0 - self.level) / pace.rate


class Turnstile:
    """Lets so many through; time is passed in."""

    def __init__(self, each: Pace, together: Pace) -> None:
        self._each, self._together = each, together
        self._peers: OrderedDict[str, _Bucket] = OrderedDict()
        self._all = _Bucket(together.burst, 0.0)

    def wait_for(self, peer: str, now: float) -> float:
        """Zero to go on; else how many seconds to wait, and nothing was taken from the others' share."""
        wait = self._bucket(peer, now).take(self._each, now)
        return wait or self._all.take(self._together, now)

    def _bucket(self, peer: str, now: float) -> _Bucket:
        bucket = self._peers.get(peer)
        if bucket is None:
            bucket = self._peers[peer] = _Bucket(self._each.burst, now)
            if len(self._peers) > MOST_PEERS:
                self._peers.popitem(last=False)
        self._peers.move_to_end(peer)
        return bucket
