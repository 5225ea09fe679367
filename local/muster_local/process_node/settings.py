"""What a process node is told through its environment; durations are seconds."""

from __future__ import annotations

from pathlib import Path

import psutil
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from muster_api.names import GPU_RESOURCE
from muster_kube.process import LogLevel
from muster_local.process_node.restarts import BackoffRule


class NodeSettings(BaseSettings):
    """Environment variables with the prefix MUSTER_NODE_."""

    model_config = SettingsConfigDict(env_prefix="MUSTER_NODE_", frozen=True)

    name: str
    folder: Path
    """Shared by the process nodes of an instance."""
    listen_host: str = "127.0.0.1"
    listen_port: int = Field(default=0, ge=0, le=65535)
    log_level: LogLevel = "INFO"
    authority: Path
    """The CA of the API server's client certificate, and of ours."""
    certificate: Path
    private_key: Path
    cpu: str = ""
    """Empty: what the machine has."""
    memory: str = ""
    gpus: int = Field(default=4, ge=0)
    """Advertised, not real."""
    pods: int = Field(default=110, ge=1)
    images: Path | None = None
    lease_seconds: float = Field(default=40.0, gt=0)
    """How long the node counts as alive after a renewal; it renews four times as often."""
    status_seconds: float = Field(default=10.0, gt=0)
    refresh_seconds: float = Field(default=60.0, gt=0)
    """How often volumes are compared with the ConfigMaps, Secrets and tokens behind them."""
    backoff_scale: float = Field(default=1.0, gt=0)
    """Makes the pauses between restarts shorter for tests."""

    @classmethod
    def read(cls) -> NodeSettings:
        """From the environment; raises pydantic's ValidationError."""
        return cls.model_validate({})

    def capacity(self) -> dict[str, str]:
        """What the node offers."""
        offered = {
            "cpu": self.cpu or str(psutil.cpu_count() or 1),
            "memory": self.memory or f"{psutil.virtual_memory().total >> 10}Ki",
            "pods": str(self.pods),
        }
        return offered | ({GPU_RESOURCE: str(self.gpus)} if self.gpus else {})

    def backoff_rule(self) -> BackoffRule:
        return BackoffRule().scaled(self.backoff_scale)
