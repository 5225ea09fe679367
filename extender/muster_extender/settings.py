"""The extender's settings, from environment variables with the prefix MUSTER_."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from muster_api.names import GPU_RESOURCE
from muster_extender.scoring import Strategy
from muster_kube.process import LogLevel


class ExtenderSettings(BaseSettings):
    """Read once at the start; durations in seconds."""

    model_config = SettingsConfigDict(env_prefix="MUSTER_", frozen=True, env_ignore_empty=True)

    listen_host: str = Field(
        default="127.0.0.1", description="address to listen on; kube-scheduler is on the same host"
    )
    listen_port: int = Field(default=8710, ge=0, le=65535, description="port to listen on")
    log_level: LogLevel = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR")
    gpu_resources: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(GPU_RESOURCE,), description="extended resources that count as GPUs, separated by commas"
    )
    strategy: Strategy = Field(default=Strategy.BINPACK, description=f"node choice: {', '.join(Strategy)}")
    bind_timeout: float = Field(
        default=120.0, ge=10, description="httpTimeout of the scheduler's entry with the bindVerb"
    )
    barrier_timeout: float = Field(
        default=30.0, gt=0, description="without an arrival for this long a gang gives up its place"
    )
    elastic_grace: float = Field(
        default=1.0, ge=0, description="how long an elastic gang with its minimum waits for more"
    )
    commit_slack: float = Field(
        default=5.0, ge=0, description="time kept free on every held call when a gang is committed"
    )
    longest_silence: float = Field(
        default=90.0, gt=0, description="without a sign of life from the API server: fail closed"
    )
    bind_concurrency: int = Field(default=32, ge=1, description="bindings under way at once")

    @field_validator("gpu_resources", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value
