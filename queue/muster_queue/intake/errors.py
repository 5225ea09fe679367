"""What intake itself can answer instead of storing; the errors of storage pass through it as they are."""

from __future__ import annotations


class IntakeError(Exception):
    """Root of what this package raises on purpose."""


class Overloaded(IntakeError):
    """More is waiting than will be taken in; nothing was done."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many submissions are waiting; try again in {retry_after} s")
        self.retry_after = retry_after
        """Seconds after which what waits now should be stored."""
