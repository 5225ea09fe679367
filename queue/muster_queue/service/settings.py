"""What an operator can set about the service behind the api."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class TenantSettings(BaseSettings):
    """Environment variables with the prefix MUSTER_TENANT_; a tenant is a namespace."""

    model_config = SettingsConfigDict(env_prefix="MUSTER_TENANT_", frozen=True)

    jobs_per_second: float = Field(default=20_000.0, gt=0)
    """How fast one tenant may submit; shared by all replicas as long as Redis answers."""
    burst_jobs: int = Field(default=100_000, ge=1)
    """How many at once after a rest."""
    pending_jobs: int = Field(default=2_000_000, ge=1)
    """How many of its jobs may wait; counted every few seconds, so that a fast tenant may pass it a little."""
