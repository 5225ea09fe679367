"""What befalls the queue service in a campaign: its processes are killed where they stand, one or two at a time."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable

from redis import Redis
from redis.exceptions import RedisError

from bones.control_plane import Faults
from bones.pool_workers import WorkerProcess
from muster_local.cluster import Cluster

WORKER = "worker"
FLUSH = "flush"
VICTIMS = {"api": 4, "controller": 4, WORKER: 4, "postgres": 3, "redis": 2, FLUSH: 1}
"""By how often each is chosen; `flush` leaves Redis alive and empty, and is counted apart."""
COME_BACK = ("postgres", "redis", "controller", "api", WORKER)
"""In this order: the api is ready only where Postgres is."""
TWO_AT_ONCE = 0.25
LONGEST_AWAY = 1.5


class Workers:
    """Warm workers, each of which comes back under its name."""

    def __init__(self, make: Callable[[str], WorkerProcess], count: int) -> None:
        self._make = make
        self._running = {name: make(name) for name in (f"worker-{number}" for number in range(count))}

    def kill(self, name: str) -> None:
        self._running[name].kill()

    def start(self, name: str) -> None:
        self._running[name] = self._make(name)

    @property
    def names(self) -> list[str]:
        return list(self._running)

    def stop(self) -> None:
        for worker in self._running.values():
            worker.kill()


class Fates:
    """Kills and brings back, from one seed."""

    def __init__(self, cluster: Cluster, faults: Faults, workers: Workers, chance: random.Random) -> None:
        self._cluster, self._faults, self._workers, self._chance = cluster, faults, workers, chance
        self.kills: Counter[str] = Counter()
        self.flushes = 0
        self.strokes = 0

    def strike(self) -> None:
        """One stroke, and all is whole again."""
        self.strokes += 1
        victims = [self._some()]
        if self._chance.random() < TWO_AT_ONCE:
            victims.append(self._some())
        dead = {self._kill(name) for name in dict.fromkeys(victims)} - {""}
        time.sleep(self._chance.uniform(0, LONGEST_AWAY))
        for kind in COME_BACK:
            for name in sorted(dead):
                if name.startswith(kind):
                    self._bring_back(name)

    def _some(self) -> str:
        return self._chance.choices(list(VICTIMS), weights=list(VICTIMS.values()))[0]

    def _kill(self, victim: str) -> str:
        """Who has to be brought back."""
        if victim == FLUSH:
            self.flushes += 1
        else:
            self.kills[victim] += 1
        match victim:
            case "worker":
                name = self._chance.choice(self._workers.names)
                self._workers.kill(name)
                return name
            case "flush":
                self._flush()
                return ""
            case "postgres" if self._chance.random() < 0.5:
                # What `pg_ctl stop -m immediate` does.
                self._faults.kill(victim, signal.SIGQUIT)
            case _:
                self._faults.crash(victim)
        return victim

    def _bring_back(self, name: str) -> None:
        if name.startswith(WORKER):
            self._workers.start(name)
            return
        self._faults.start(name)
        if name == "redis" and self._chance.random() < 0.5:
            self._flush()

    def _flush(self) -> None:
        try:
            with Redis.from_url(self._cluster.store_url("redis"), socket_timeout=5) as redis:
                redis.flushall()
        except (RedisError, OSError):
            # It was killed by the same stroke.
            return
