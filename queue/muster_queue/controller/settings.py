"""What an operator can set, read once from the environment at the start."""

from __future__ import annotations

import os
import socket
from uuid import uuid4

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from muster_api.names import GPU_RESOURCE, SYSTEM_NAMESPACE
from muster_kube.process import LogLevel
from muster_planner.policy import Policy, Strategy
from muster_queue.controller.timing import Patience


class ControllerSettings(BaseSettings):
    """Environment variables with the prefix MUSTER_; durations are seconds."""

    model_config = SettingsConfigDict(env_prefix="MUSTER_", frozen=True)

    listen_host: str = "127.0.0.1"
    listen_port: int = Field(default=8082, ge=0, le=65535)
    log_level: LogLevel = "INFO"
    identity: str = Field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}")
    """Of this replica; give it a lasting one (the pod's name), and a restarted controller leads on at once."""
    namespace: str = SYSTEM_NAMESPACE
    lease_duration: float = Field(default=15.0, gt=0)
    lease_renew_deadline: float = Field(default=10.0, gt=0)
    lease_retry_period: float = Field(default=2.0, gt=0)
    gpu_resources: tuple[str, ...] = (GPU_RESOURCE,)
    strategy: Strategy = Strategy.BINPACK
    largest_gang: int = Field(default=10_000, ge=1)
    """The largest gang that the barrier's timeouts allow; larger ones are refused with that reason."""
    release_deadline: float = Field(default=120.0, gt=0)
    repair_deadline: float = Field(default=60.0, gt=0)
    refusal_patience: float = Field(default=3.0, gt=0)
    stale_after: float = Field(default=90.0, gt=0)
    """Age of the caches beyond which nothing is planned; a healthy watch gives a sign of life each half minute."""
    blind_after: float = Field(default=35.0, gt=0)
    """Age of the caches beyond which nothing is taken back or evicted: less than the repair deadline, more than the
    longest watch."""
    plan_interval: float = Field(default=0.05, ge=0)
    """At least this long from one planning cycle to the next: each costs a write of the fence."""

    def patience(self) -> Patience:
        return Patience(release=self.release_deadline, repair=self.repair_deadline, refusal=self.refusal_patience)

    def policy(self) -> Policy:
        return Policy(strategy=self.strategy, gpu_resources=self.gpu_resources, largest_gang=self.largest_gang)
