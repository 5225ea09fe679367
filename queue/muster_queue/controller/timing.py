"""How long a gang has stood where it stands, by this process's own monotonic clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from muster_api.phases import GangPhase


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the controller waits before it acts by itself, in seconds."""

    release: float = 120.0
    """From the last ticket to the commit, and this much more per member."""
    release_per_member: float = 0.02
    repair: float = 60.0
    """For a committed gang that is bound in part, since its last progress."""
    refusal: float = 3.0
    """For kube-scheduler to find the planned node again after it has said no; as much more per member as above."""
    old_refusal: float = 10.0
    """For a pod that binds alone, where it said no to the try before: it may not have looked again yet (its back-off
    is up to 5 s). A member at the barrier gets the whole time of its release."""
    trim: float = 3.0
    """Before slots that nobody came for are given back."""
    lost_node: float = 30.0
    """For a node under a job's members to come back: before they are taken down, and again before they are given up."""
    image: float = 20.0
    """For an image that cannot be pulled."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What has been seen of one gang so far."""

    phase: GangPhase = GangPhase.PENDING
    epoch: str = ""
    since: float = 0.0
    progress: int = 0
    progressed: float = 0.0
    broken_since: float | None = None
    abandoned_since: float | None = None
    node_lost_since: float | None = None
    image_missing_since: float | None = None
    refused_since: Mapping[str, float] = field(default_factory=dict)
    old_refusals: Mapping[str, str] = field(default_factory=dict)
    """What kube-scheduler had said, by uid, when this epoch was first seen."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one look at a gang shows that timing depends on."""

    phase: GangPhase
    epoch: str
    progress: int
    is_broken: bool = False
    is_abandoned: bool = False
    is_node_lost: bool = False
    is_image_missing: bool = False
    refusals: Mapping[str, str] = field(default_factory=dict)


def advance(timing: Timing | None, seen: Sighting, now: float) -> Timing:
    """Carry the clocks on: a new phase or epoch starts them all, progress restarts the patience."""
    if timing is None or timing.epoch != seen.epoch:
        timing = Timing(seen.phase, seen.epoch, now, seen.progress, now, old_refusals=seen.refusals)
    elif timing.phase != seen.phase:
        timing = Timing(seen.phase, seen.epoch, now, seen.progress, now, old_refusals=timing.old_refusals)
    elif timing.progress != seen.progress:
        timing = replace(timing, progress=seen.progress, progressed=now)
    broken_since = _since(timing.broken_since, now, is_so=seen.is_broken)
    abandoned_since = _since(timing.abandoned_since, now, is_so=seen.is_abandoned)
    refused_since = {uid: timing.refused_since.get(uid, now) for uid in seen.refusals}
    return replace(
        timing,
        broken_since=broken_since,
        abandoned_since=abandoned_since,
        node_lost_since=_since(timing.node_lost_since, now, is_so=seen.is_node_lost),
        image_missing_since=_since(timing.image_missing_since, now, is_so=seen.is_image_missing),
        refused_since=refused_since,
    )


def restarted(timing: Timing, now: float) -> Timing:
    """The same with every clock that runs at its beginning."""
    return replace(
        timing,
        progressed=now,
        broken_since=None if timing.broken_since is None else now,
        abandoned_since=None if timing.abandoned_since is None else now,
        node_lost_since=None if timing.node_lost_since is None else now,
        image_missing_since=None if timing.image_missing_since is None else now,
        refused_since=dict.fromkeys(timing.refused_since, now),
    )


def _since(before: float | None, now: float, *, is_so: bool) -> float | None:
    if not is_so:
        return None
    return now if before is None else before
