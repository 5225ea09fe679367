"""How long workers are believed, and how patient pools are, read once from the environment."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class PoolSettings(BaseSettings):
    """Environment variables with the prefix MUSTER_POOL_; durations are seconds."""

    model_config = SettingsConfigDict(env_prefix="MUSTER_POOL_", frozen=True)

    lease_seconds: float = Field(default=30.0, ge=1, le=3600)
    """Without a heartbeat for so long an attempt is lost; workers beat at a third of it."""
    pace: float = Field(default=0.005, ge=0)
    """At least so long from one round of a queue to the next: the smallest batches cost more than they save."""
    settling_pace: float = Field(default=0.02, ge=0)
    """The same for heartbeats and acknowledgements, which nobody is in a hurry for."""
    first_look: float = Field(default=0.005, gt=0)
    """An empty pool is looked at again after so long, then ever less often: for jobs that other processes store."""
    longest_look: float = Field(default=0.25, gt=0)
    database_look: float = Field(default=2.0, gt=0)
    """How often Postgres is asked by workers that wait in vain: for what the index has lost."""
    sweep: float = Field(default=10.0, gt=0)
    """How often jobs are looked for that somebody took from the index and never claimed."""
    most_waiting: int = Field(default=5_000, ge=1)
    """Workers that wait in one process; more are refused."""
    most_waiting_of_namespace: int = Field(default=4_000, ge=1)
    """So that no tenant keeps the workers of all others from waiting."""
    most_acknowledging: int = Field(default=20_000, ge=1)
    """Heartbeats or acknowledgements that are under way; more are refused."""
    idle_seconds: float = Field(default=60.0, gt=0)
    """A queue that nobody has asked about for so long is forgotten."""
