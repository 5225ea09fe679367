"""Why a pod, and with it an attempt, has failed; which failures count, and how long to wait before the next attempt."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from muster_api.jobs import FailureClass, JobRetryPolicy
from muster_api.names import MAIN_CONTAINER
from muster_api.objects import ContainerStatus, Pod

LONGEST_BACKOFF: Final = 300.0
MOST_JITTER: Final = 0.1
LONGEST_MESSAGE: Final = 512

REFUSED_EXIT_CODE: Final = 2
REFUSED_MESSAGE: Final = "refused:"
"""How a worker that no retry can help ends; by its exit code alone many a program ends that a retry does help."""
TERMINATED: Final = frozenset({137, 143})
"""Exit codes of a process that was told to end, or made to."""

DISRUPTED: Final = "DisruptionTarget"
LOST_NODE: Final = frozenset({"DeletionByTaintManager", "DeletionByPodGC", "NodeLost"})
ENDED_BY_NODE: Final = frozenset({"Evicted", "Preempting", "NodeShutdown", "Terminated", "NodeAffinity", "Shutdown"})
IMAGE_PROBLEMS: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageNotMapped"}
)

UNCOUNTED: Final = frozenset(
    {
        FailureClass.PREEMPTED,
        FailureClass.NODE_LOST,
        FailureClass.DELETED,
        FailureClass.BROKEN,
        FailureClass.SUSPENDED,
        FailureClass.CANCELLED,
    }
)
"""Not the job's own doing: they cost none of its retries."""

_BLAME: Final = (
    FailureClass.VALIDATION,
    FailureClass.OUT_OF_MEMORY,
    FailureClass.EXIT_CODE,
    FailureClass.NODE_LOST,
    FailureClass.PREEMPTED,
)
"""Which member's failure speaks for the attempt: others often fail only because that one did."""


class PodState(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """How a job's pod does, beyond where it is."""

    is_running: bool = False
    exit_code: int | None = None
    reason: str = ""
    message: str = ""
    image_problem: str = ""
    disruption: str = ""
    """Why its node or the API server ended it, where they did."""


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """What has ended an attempt, or is about to."""

    failure: FailureClass
    message: str
    exit_code: int | None = None
    member: str = ""


def state_of(pod: Pod) -> PodState:
    """What a pod's status says of the container that does the work."""
    status = pod.status
    container = _main_container(status.container_statuses).state
    disruption = next((c.reason for c in status.conditions if c.type == DISRUPTED and c.status == "True"), "")
    ended, waiting = container.terminated, container.waiting
    is_held_up = waiting is not None and waiting.reason in IMAGE_PROBLEMS
    message = (ended.message if ended else waiting.message if waiting and is_held_up else "") or status.message
    return PodState(
        is_running=status.phase == "Running",
        exit_code=ended.exit_code if ended else None,
        reason=ended.reason if ended else "",
        message=message[:LONGEST_MESSAGE],
        image_problem=waiting.reason if waiting and is_held_up else "",
        disruption=disruption or (status.reason if status.reason in LOST_NODE | ENDED_BY_NODE else ""),
    )


def _main_container(found: Sequence[ContainerStatus]) -> ContainerStatus:
    """Not just the first: kubelets sort by name, and injected sidecars may come before it."""
    named = (status for status in found if status.name == MAIN_CONTAINER)
    return next(named, None) or next(iter(found), ContainerStatus())


def classify(state: PodState, *, is_deleting: bool = False) -> FailureClass:
    """The class of a pod's failure. A terminated process was preempted only when its node or Muster ended it."""
    if state.disruption in LOST_NODE:
        return FailureClass.NODE_LOST
    if state.reason == "OOMKilled":
        return FailureClass.OUT_OF_MEMORY
    if state.exit_code == REFUSED_EXIT_CODE and state.message.startswith(REFUSED_MESSAGE):
        return FailureClass.VALIDATION
    if state.disruption or (is_deleting and state.exit_code in TERMINATED):
        return FailureClass.PREEMPTED
    return FailureClass.EXIT_CODE


def blame(failures: tuple[AttemptEnd, ...]) -> AttemptEnd:
    """The failure that speaks for all: the job's own doing before what others did to it, then the first."""
    ranks = {failure: rank for rank, failure in enumerate(_BLAME)}
    return min(failures, key=lambda end: ranks.get(end.failure, len(ranks)))


def backoff(policy: JobRetryPolicy, retries: int, seed: str) -> float:
    """Seconds before the next attempt, after so many counted failures: exponential, spread by up to a tenth.

    The spread follows from the seed alone, so that a controller that restarts comes to the same moment.
    """
    if retries <= 0:
        return 0.0
    plain = policy.backoff_seconds * policy.backoff_multiplier ** min(retries - 1, 64)
    share = int.from_bytes(hashlib.blake2b(f"{seed}/{retries}".encode(), digest_size=4).digest()) / 2**32
    return min(LONGEST_BACKOFF, plain * (1.0 + MOST_JITTER * share))
