"""Whether the caches may be believed: all complete, and each with a sign of life from its watch not long ago."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Cache(Protocol):
    """The part of a reflector that tells how old it is."""

    def staleness(self, now: float | None = None) -> float:
        """Seconds since the newest sign of life; infinite before the first complete state."""


class Freshness:
    """All caches together. Deciding on old ones would give away what is taken."""

    def __init__(self, caches: Mapping[str, Cache], longest_silence: float) -> None:
        self._caches = dict(caches)
        self._longest_silence = longest_silence
        self.is_built = False
        """Set once the state has been built from the complete caches."""

    @property
    def is_fresh(self) -> bool:
        return self.is_built and all(cache.staleness() <= self._longest_silence for cache in self._caches.values())

    def missing(self) -> list[str]:
        """What is not there yet or has gone silent, in words; empty when all is well."""
        found = []
        for name, cache in self._caches.items():
            silence = cache.staleness()
            if silence == float("inf"):
                found.append(f"{name}: not synced yet")
            elif silence > self._longest_silence:
                found.append(f"{name}: no sign of life for {silence:.0f} s")
        return found or ([] if self.is_built else ["state: not built yet"])
