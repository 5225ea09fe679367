"""Who of those looked at waits for a place, as requests to the planner."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from muster_planner.request import GangRequest
from muster_planner.retry import Lesson
from muster_queue.controller.backlog import (
    GangTarget,
    GrowthTarget,
    Shapes,
    SingleTarget,
    Target,
    gang_request,
    growth_request,
    job_request,
    single_request,
)
from muster_queue.controller.looking import GroupLook, SingleLook

Wish = tuple[GangRequest, Target]
LessonOf = Callable[[str], Lesson]


def wishes_of_group(look: GroupLook, shapes: Shapes, lesson_of: LessonOf) -> Iterable[Wish]:
    """One for a whole gang, one for each late member of a gang that runs, none for all others."""
    gang, decision = look.group.gang, look.decision
    if gang is not None and decision.ordered is not None:
        return ((job_request(gang, decision.ordered, shapes, look.lesson), GangTarget(look.group.key)),)
    if gang is None or not decision.wanted:
        return ()
    if not decision.is_growth:
        return ((gang_request(gang, decision.wanted, shapes, look.lesson), GangTarget(look.group.key)),)
    return tuple(
        (growth_request(gang, member, shapes, lesson_of(member.uid)), GrowthTarget(look.group.key, member.uid))
        for member in decision.wanted
    )


def wishes_of_single(look: SingleLook, shapes: Shapes) -> Iterable[Wish]:
    if not look.decision.wants_place:
        return ()
    return ((single_request(look.member, shapes, look.lesson), SingleTarget(look.member.uid)),)
