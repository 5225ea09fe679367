"""Warm workers as processes of their own, as they run in production."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from bones.pool_world import PoolWorld, until


class Employer(NamedTuple):
    """Whose jobs a worker does, and by what right."""

    url: str
    namespace: str
    token: str

    @classmethod
    def of(cls, world: PoolWorld) -> Employer:
        return cls(world.rest.url, "team-a", world.rest.token("ann"))


class WorkerProcess:
    """`muster-worker pool`; its log goes on where another one of its name has left it."""

    def __init__(self, employer: Employer, folder: Path, name: str, *options: str, concurrency: int = 2) -> None:
        self.log = folder / f"{name}.log"
        token = folder / f"{name}.token"
        token.write_text(employer.token)
        command = [sys.executable, "-m", "muster_worker", "pool", "--url", employer.url]
        command += ["--namespace", employer.namespace, "--token-file", str(token)]
        command += ["--name", name, "--concurrency", str(concurrency), *options]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    async def has_said(self, name: str, times: int = 1) -> None:
        await until(lambda: len(self.events(name)) >= times)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    async def stop(self) -> int:
        """Asks for an end in order; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        await until(lambda: self.process.poll() is not None)
        return self.process.returncode
