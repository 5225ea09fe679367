"""What an operator can set of the leader's work for the queue service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from muster_queue.index.connection import IndexSettings
from muster_queue.storage.settings import StorageSettings
from muster_queue.variables import read_settings


class DispatchSettings(BaseSettings):
    """Environment variables with the prefix MUSTER_; durations are seconds."""

    model_config = SettingsConfigDict(env_prefix="MUSTER_", frozen=True)

    database_url: SecretStr = SecretStr("")
    """Without it there is no queue service, and the controller knows the jobs of kubectl alone."""
    redis_url: SecretStr = SecretStr("")
    """Without it pools take their jobs from Postgres."""
    dispatch_window: int = Field(default=200, ge=1, le=5000)
    """So many AIJobs of a queue may wait at once; a better job never waits for a worse one."""
    dispatch_interval: float = Field(default=0.2, gt=0)
    """How often Postgres is asked for jobs that are to become AIJobs."""
    dispatch_concurrency: int = Field(default=16, ge=1, le=64)
    """AIJobs that are made at once."""

    @property
    def has_database(self) -> bool:
        return bool(self.database_url.get_secret_value())

    @property
    def has_index(self) -> bool:
        return bool(self.redis_url.get_secret_value())


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """All that the environment says of the queue service to a controller that has one."""

    dispatch: DispatchSettings
    storage: StorageSettings
    index: IndexSettings | None

    @classmethod
    def from_environment(cls) -> Self | None:
        """None without a database; VariablesError where something is wrong, so that no leader finds out later."""
        dispatch = read_settings(DispatchSettings)
        if not dispatch.has_database:
            return None
        index = read_settings(IndexSettings) if dispatch.has_index else None
        return cls(dispatch, read_settings(StorageSettings), index)
