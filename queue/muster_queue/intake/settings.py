"""How much intake takes at once, read once from the environment."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class IntakeSettings(BaseSettings):
    """Environment variables with the prefix MUSTER_INTAKE_; durations are seconds."""

    model_config = SettingsConfigDict(env_prefix="MUSTER_INTAKE_", frozen=True)

    waiting_jobs: int = Field(default=10_000, ge=1)
    """Of single submissions; more are refused."""
    waiting_bulk_jobs: int = Field(default=50_000, ge=1)
    batch_jobs: int = Field(default=500, ge=1, le=10_000)
    """At most so many in one commit, so that nobody waits for a long one; a larger request is a batch by itself."""
    bulk_batch_jobs: int = Field(default=1_000, ge=1, le=10_000)
    flushers: int = Field(default=1, ge=1, le=8)
    """Commits of single submissions under way at once: more of them are smaller ones, and cost more."""
    bulk_flushers: int = Field(default=2, ge=1, le=8)
    bulk_from: int = Field(default=20, ge=2)
    """Requests with so many jobs wait in a lane of their own, and keep no single one waiting."""
    doubt_seconds: float = Field(default=8.0, gt=0)
    """How long a commit of unknown outcome is asked about before its senders are told so."""
