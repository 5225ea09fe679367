"""Whether the caches may be believed: all complete, and each with a sign of life from its watch not long ago."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from muster_kube.clock import Clock

LOOK_AGAIN_SECONDS: Final = 0.25


class Cache(Protocol):
    """The part of a reflector that tells how old it is."""

    def staleness(self, now: float | None = None) -> float:
        """Seconds since the newest sign of life; infinite before the first complete state."""


class Freshness:
    """All caches together. Deciding on old ones would give away what is taken."""

    def __init__(
        self, caches: Mapping[str, Cache], longest_silence: float, clock: Clock, *, is_behind: Callable[[], bool]
    ) -> None:
        self._caches = dict(caches)
        self._longest_silence = longest_silence
        self._clock = clock
        self._is_behind = is_behind
        self._was_fresh = False
        self._looked_at = float("-inf")
        self.is_built = False
        """Set once the state has been built from the complete caches."""

    @property
    def is_fresh(self) -> bool:
        """Whether to decide on them; looked up a few times a second, since every call of every pod asks."""
        now = self._clock.monotonic()
        if now - self._looked_at >= LOOK_AGAIN_SECONDS:
            self._looked_at = now
            self._was_fresh = all(cache.staleness(now) <= self._longest_silence for cache in self._caches.values())
        return self.is_built and self._was_fresh and not self._is_behind()

    def missing(self) -> list[str]:
        """What is not there yet or has gone silent, in words; empty when all is well."""
        found = []
        for name, cache in self._caches.items():
            silence = cache.staleness()
            if silence == float("inf"):
                found.append(f"{name}: not synced yet")
            elif silence > self._longest_silence:
                found.append(f"{name}: no sign of life for {silence:.0f} s")
        return found or ([] if self.is_built and not self._is_behind() else ["state: not built yet"])
