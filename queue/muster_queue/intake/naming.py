"""Names that are wanted twice before any of them is stored: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from muster_queue.intake.lane import Pending
from muster_queue.storage.errors import NameTaken
from muster_queue.storage.records import Request

Name = tuple[str, str]
"""Namespace and name."""


def refuse_twins(request: Request) -> None:
    """With a key the jobs of a request are taken together or not at all: two of one name never can be.

    Without one each job stands for itself, and the first of them gets the name.
    """
    if request.key is None or len(request.jobs) == 1:
        return
    counts = Counter((job.namespace, job.name) for job in request.jobs if job.is_named)
    twins = [name for name, count in counts.items() if count > 1]
    if twins:
        namespace = twins[0][0]
        raise NameTaken(namespace, [name for where, name in twins if where == namespace])


def apart(batch: Sequence[Pending]) -> tuple[list[Pending], list[Pending]]:
    """Requests that can be stored in one statement, and those that want a name that one of these wants.

    The second of two with keys has its key stored and its job not, which undoes the statement however often it is sent.
    """
    if not any([job.is_named for waiting in batch for job in waiting.request.jobs]):
        return list(batch), []
    first: list[Pending] = []
    rivals: list[Pending] = []
    wanted: set[Name] = set()
    for waiting in batch:
        names = {(job.namespace, job.name) for job in waiting.request.jobs if job.is_named}
        (first if wanted.isdisjoint(names) else rivals).append(waiting)
        wanted |= names
    return first, rivals
