"""What a decision about a job looks at, frozen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from muster_api.jobs import AIJob
from muster_api.phases import GangPhase
from muster_api.reasons import Reason
from muster_queue.jobs.failures import AttemptEnd


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why a job is not even planned."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class GangFacts:
    """How far the job's gang has come."""

    phase: GangPhase
    attempt: int
    reason: str = ""
    message: str = ""
    committed_at: str | None = None
    running: int = 0
    size: int = 0
    """Members that take part."""
    end: AttemptEnd | None = None
    """What has ended its present attempt, where something has."""


@dataclass(frozen=True, slots=True)
class JobView:
    """`gang` is None as long as the job has none of its own."""

    job: AIJob
    gang: GangFacts | None
    members: int
    gpus: int
    now: datetime
    hindrance: Hindrance | None = None
