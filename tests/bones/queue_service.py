"""The controller with the stores that it keeps jobs in, each of which a test may take away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bones.control_plane import FAILPOINTS, FAILPOINTS_LOG
from bones.postgres import PostgresServer
from bones.redis_servers import RedisServer
from muster_local.cluster import Cluster

WINDOW = 20


@dataclass(frozen=True)
class Service:
    """One for all tests of a run; each leaves it whole."""

    cluster: Cluster
    postgres: PostgresServer
    redis: RedisServer
    environment: Mapping[str, str]

    def kill(self) -> None:
        self.cluster.kill("controller")

    def start(self, failpoints: str = "", log: str = "") -> None:
        armed = {FAILPOINTS: failpoints, FAILPOINTS_LOG: log} if failpoints else {}
        self.cluster.start("controller", env={**self.environment, **armed})

    def restart(self, failpoints: str = "", log: str = "") -> None:
        self.cluster.stop("controller")
        self.start(failpoints, log)

    def heal(self) -> None:
        """All of it runs again."""
        if not self.postgres.is_running:
            self.postgres.start()
        if not self.redis.answers():
            self.redis.start()
        if not self.cluster.is_running("controller"):
            self.start()
