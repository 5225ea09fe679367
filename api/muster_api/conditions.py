"""Conditions of objects, kept as Kubernetes asks: one of each type, whose time moves with its status alone."""

from __future__ import annotations

from collections.abc import Iterable

from muster_api.objects import Condition


def with_condition(
    conditions: Iterable[Condition], kind: str, reason: str, message: str, now: str, *, is_true: bool
) -> tuple[Condition, ...]:
    """Sets one condition; its transition time moves only when its status does."""
    conditions = tuple(conditions)
    old = next((condition for condition in conditions if condition.type == kind), None)
    state = "True" if is_true else "False"
    since = old.last_transition_time if old is not None and old.status == state else now
    new = Condition(type=kind, status=state, reason=reason, message=message, last_transition_time=since)
    if old is None:
        return (*conditions, new)
    return tuple(new if condition.type == kind else condition for condition in conditions)
