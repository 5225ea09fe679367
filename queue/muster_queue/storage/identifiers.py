"""Job ids: UUIDs of version 7, so that the newest are the greatest and indexes grow at one end."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

GENERATED_NAME_DIGITS: Final = 20
COUNTER_BITS: Final = 26
"""The 12 bits after the version and the first 14 after the variant; generated names hold all of them."""

_VERSION: Final = 7 << 76
_VARIANT: Final = 2 << 62
_RANDOM_BITS: Final = 48
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000


class JobIds:
    """Makes ids that rise within a process: a counter that starts at random in each millisecond, as in RFC 9562 6.2."""

    def __init__(
        self, milliseconds: Callable[[], int] = _milliseconds, random_bits: Callable[[int], int] = secrets.randbits
    ) -> None:
        self._milliseconds = milliseconds
        self._random_bits = random_bits
        self._last = 0
        self._counter = 0

    def make(self) -> UUID:
        """Greater than every id that this object made before, also when the clock is set back."""
        now = self._milliseconds()
        if now > self._last:
            self._last, self._counter = now, self._random_bits(COUNTER_BITS - 1)
        else:
            self._counter += 1
            if self._counter >> COUNTER_BITS:
                self._last, self._counter = self._last + 1, 0
        high = (self._counter >> 14) << 64
        low = (self._counter & 0x3FFF) << _RANDOM_BITS
        return UUID(int=self._last << 80 | _VERSION | high | _VARIANT | low | self._random_bits(_RANDOM_BITS))


def generated_name(job_id: UUID) -> str:
    """The name of a job that was given none."""
    return f"job-{job_id.hex[:GENERATED_NAME_DIGITS]}"


def made_at(job_id: UUID) -> datetime:
    """When the id was made, to the millisecond."""
    return _EPOCH + timedelta(milliseconds=job_id.int >> 80)


def first_id_at(moment: datetime) -> UUID:
    """The least id that can be made at this time: turns a time filter into a range of the primary key."""
    milliseconds = (moment - _EPOCH) // timedelta(milliseconds=1)
    return UUID(int=max(0, min(milliseconds, (1 << 48) - 1)) << 80)
