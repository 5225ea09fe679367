"""How long to wait before trying again: pure, with the randomness passed in."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

# Seeding one costs more than a request to the API server should spend on an error that rarely comes.
_SHARED: Final = random.SystemRandom()


@dataclass(slots=True)
class Backoff:
    """Doubles from `first` to `longest` seconds, each spread by a jitter so that clients do not return in step."""

    first: float = 0.8
    longest: float = 30.0
    jitter: float = 0.5
    random: random.Random = field(default_factory=lambda: _SHARED)
    failures: int = 0

    def next_delay(self, at_least: float = 0.0) -> float:
        """The pause after one more failure; `at_least` is what the server asked for."""
        delay = min(self.longest, self.first * 2.0 ** min(self.failures, 16))
        self.failures += 1
        spread = 1.0 + self.jitter * (self.random.random() - 0.5)
        return max(at_least, delay * spread)

    def reset(self) -> None:
        """Call it when something worked: the next failure is a first one again."""
        self.failures = 0
