"""What aborts teach: how long a gang stays back, which nodes it avoids, and when it yields its place to others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from muster_api.gangs import Abort, Aborts
from muster_api.reasons import Reason

BLAMELESS: Final = frozenset({Reason.MEMBER_DELETED, Reason.STALE_RESERVATION, Reason.PREEMPTED})
"""Aborts that say nothing about whether the same plan would work now: no back-off, no step towards quarantine."""


@dataclass(frozen=True, slots=True)
class RetryRules:
    """Delays in seconds, and after how many aborts in a row a gang is quarantined."""

    first_delay: float = 1.0
    factor: float = 2.0
    longest_delay: float = 60.0
    quarantine_after: int = 5
    quarantine_delay: float = 300.0
    node_exclusion: float = 120.0


@dataclass(frozen=True, slots=True, order=True)
class Exclusion:
    """A node that this gang avoids until a moment of the monotonic clock."""

    node: str
    until: float


@dataclass(frozen=True, slots=True)
class Lesson:
    """All that a gang's aborts have taught; moments are of the clock that `learn` was given.

    `seen` is the abort count it was learnt from, `strikes` how many of those speak against the gang, `delay` the
    length of the current back-off (kept because messages must not change while it runs).
    """

    seen: int = 0
    strikes: int = 0
    not_before: float = 0.0
    delay: float = 0.0
    quarantined: bool = False
    excluded: tuple[Exclusion, ...] = ()
    last: Abort | None = None


NOTHING_LEARNT: Final = Lesson()
DEFAULT_RULES: Final = RetryRules()


def learn(lesson: Lesson, aborts: Aborts | None, now: float, rules: RetryRules = DEFAULT_RULES) -> Lesson:
    """The lesson after the aborts that a Gang's status shows; the same status again changes nothing.

    Starting from NOTHING_LEARNT (a new leader) every abort in the status counts as one that speaks against the gang.
    """
    if aborts is None or aborts.count <= lesson.seen:
        return lesson
    last = aborts.last or Abort()
    fresh = aborts.count - lesson.seen
    if last.reason in BLAMELESS:
        fresh -= 1
    strikes = lesson.strikes + fresh
    excluded = _exclusions(lesson, last, now, rules)
    if not fresh:
        return replace(lesson, seen=aborts.count, excluded=excluded, last=last)
    quarantined = strikes >= rules.quarantine_after
    delay = rules.quarantine_delay if quarantined else back_off(strikes, rules)
    return Lesson(aborts.count, strikes, now + delay, delay, quarantined, excluded, last)


def back_off(strikes: int, rules: RetryRules = DEFAULT_RULES) -> float:
    """Seconds to wait after that many aborts in a row: doubling, with a cap."""
    if strikes <= 0:
        return 0.0
    exponent = min(strikes - 1, 64)
    return float(min(rules.longest_delay, rules.first_delay * rules.factor**exponent))


def forgive(lesson: Lesson) -> Lesson:
    """The lesson once the gang itself changed (members, shapes) or ran: only what was counted stays known."""
    return Lesson(seen=lesson.seen)


def give_another_try(lesson: Lesson, now: float) -> Lesson:
    """The lesson once the cluster changed: a quarantined gang may try at once, still after everyone else."""
    if not lesson.quarantined or lesson.not_before <= now:
        return lesson
    return replace(lesson, not_before=now, excluded=())


def excluded_nodes(lesson: Lesson, now: float) -> frozenset[str]:
    """The nodes that the gang avoids at this moment."""
    return frozenset(exclusion.node for exclusion in lesson.excluded if exclusion.until > now)


def next_change(lesson: Lesson, now: float) -> float | None:
    """The next moment at which waiting alone changes what the gang may do; None when there is none."""
    moments = [lesson.not_before, *(exclusion.until for exclusion in lesson.excluded)]
    return min((moment for moment in moments if moment > now), default=None)


def _exclusions(lesson: Lesson, last: Abort, now: float, rules: RetryRules) -> tuple[Exclusion, ...]:
    kept = {exclusion.node: exclusion.until for exclusion in lesson.excluded if exclusion.until > now}
    if last.node and last.reason not in BLAMELESS:
        kept[last.node] = now + rules.node_exclusion
    return tuple(sorted(Exclusion(node, until) for node, until in kept.items()))
