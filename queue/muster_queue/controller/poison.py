"""Finds what makes planning fail, so that the rest can be planned without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from muster_planner.request import GangRequest


def find_poisoned(
    attempt: Callable[[Sequence[GangRequest]], object], requests: Sequence[GangRequest]
) -> list[GangRequest]:
    """Those that fail even alone, found by halving; none where they only fail together."""
    try:
        attempt(requests)
    except Exception:
        if len(requests) <= 1:
            return list(requests)
    else:
        return []
    middle = len(requests) // 2
    return find_poisoned(attempt, requests[:middle]) + find_poisoned(attempt, requests[middle:])
