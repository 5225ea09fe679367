"""A plain model of the jobs of a pool: what each has to be like by now."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from muster_api.phases import JobPhase
from muster_queue.storage.transitions import TRANSITIONS

MOST_RETRIES = 2
MOST_FORGIVEN = 3


@dataclass
class ModelJob:
    """One job, and the policy in words that its spec has in fields."""

    priority: int
    pauses: bool = False
    """Whether there is a pause before a further attempt that is not the first to be forgiven."""
    phase: JobPhase = JobPhase.QUEUED
    attempt: int = 0
    retries: int = 0
    holder: str = ""
    moves: int = 1
    """Its version: one for each thing that happened."""
    ends: list[str] = field(default_factory=list)

    def move(self, phase: JobPhase) -> None:
        assert phase in TRANSITIONS[self.phase]
        self.phase = phase
        self.moves += 1
        if phase is not JobPhase.RUNNING:
            self.holder = ""

    def close(self, end: str) -> None:
        """Some ends are final, some cost nothing for a while, the others cost a retry."""
        forgiven = self.attempt - 1 - self.retries
        if end == "succeeded":
            self.move(JobPhase.SUCCEEDED)
        elif end == "validation":
            self.move(JobPhase.FAILED)
        elif end in ("preempted", "nodeLost") and forgiven < MOST_FORGIVEN:
            self._wait(pauses=self.pauses and forgiven > 0)
        elif self.retries < MOST_RETRIES:
            self.retries += 1
            self._wait(pauses=self.pauses)
        else:
            self.move(JobPhase.DEAD_LETTER)

    def _wait(self, *, pauses: bool) -> None:
        self.move(JobPhase.RETRYING if pauses else JobPhase.QUEUED)


@dataclass(frozen=True)
class Held:
    """A lease as its worker remembers it, whether it still holds or not."""

    job_id: UUID
    attempt: int
    worker: str
