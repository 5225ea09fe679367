"""What an error of the driver means for the statement that met it: pure, by SQLSTATE."""

from __future__ import annotations

from enum import Enum
from typing import Final

import psycopg
from psycopg import errors


class Verdict(Enum):
    """What is known about a statement that has failed."""

    REPEAT = "rolled back because of others; the same again will do"
    AWAY = "not done, and not now"
    UNKNOWN = "sent, and never answered"
    UNSTORABLE = "refused because of a value"
    BROKEN = "refused because the statement or the schema is wrong"


_REPEAT: Final = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "55P03",  # lock not available
        "26000",  # the prepared statement is gone, as after a pooler changed servers
    }
)
_NOT_SUPPORTED: Final = "0A000"
_STALE_PLAN: Final = "cached plan"
"""A statement was prepared before the schema changed; a new connection prepares it anew."""
_AWAY: Final = frozenset(
    {
        "57014",  # statement timeout
        "57P03",  # starting up or shutting down
        "25006",  # read-only: a standby
        "28000",
        "28P01",
        "3D000",
    }
)
_AWAY_CLASSES: Final = frozenset({"53", "58", "55"})  # out of disk, memory or connections; system error
_VALUE_CLASSES: Final = frozenset({"22", "23", "54"})


def is_of_old_schema(error: psycopg.Error) -> bool:
    """Whether the connection has prepared what no longer fits."""
    return error.sqlstate == _NOT_SUPPORTED and _STALE_PLAN in str(error)


def verdict_on(error: psycopg.Error) -> Verdict:
    """Whether the statement has happened, may have, or cannot.

    A backend that is told to end (57P01, 57P02) may be told so between its commit and the answer.
    """
    state = error.sqlstate
    if state is None or isinstance(error, errors.AdminShutdown | errors.CrashShutdown) or state[:2] == "08":
        return Verdict.UNKNOWN if isinstance(error, psycopg.OperationalError) else Verdict.UNSTORABLE
    if state in _REPEAT or is_of_old_schema(error):
        return Verdict.REPEAT
    if state in _AWAY or state[:2] in _AWAY_CLASSES:
        return Verdict.AWAY
    if state[:2] in _VALUE_CLASSES:
        return Verdict.UNSTORABLE
    return Verdict.UNKNOWN if state == "40003" or state[:2] == "57" else Verdict.BROKEN
