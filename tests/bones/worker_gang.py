"""Gangs of training workers as processes on loopback, for tests that run in the worker's own environment."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from muster_worker.__main__ import main

PATIENCE_SECONDS = 90.0
_POLL_SECONDS = 0.02
_SMALL = {"hidden_width": 48, "epochs": 4, "log_interval": 1, "checkpoint_interval": 5, "peer_timeout_seconds": 30}

# Each member is a process of its own, forked off a server that has imported torch, which takes seconds.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["muster_worker.training", "muster_worker.inference", "torch._dynamo"])

Event = dict[str, Any]


class Member:
    """One rank: its process and what it has logged."""

    def __init__(self, rank: int, output: Path, environment: Mapping[str, str], arguments: list[str]) -> None:
        self.rank = rank
        self.output = output
        self.process = _processes.Process(target=_run, args=(arguments, dict(environment), str(output)), daemon=True)
        self.process.start()

    def events(self, *names: str) -> list[Event]:
        """Those of these names, or all; what torch itself writes is left out."""
        lines = self.output.read_text().splitlines() if self.output.exists() else []
        found = [json.loads(line) for line in lines if line.startswith('{"time"') and line.endswith("}")]
        return [event for event in found if not names or event["event"] in names]

    def send(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def exit_code(self) -> int | None:
        """Waits for the end; None if it does not come."""
        self.process.join(PATIENCE_SECONDS)
        return self.process.exitcode

    def await_event(self, wanted: Callable[[Event], bool]) -> Event:
        """The first event of that kind, once it is there."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            found = next(filter(wanted, self.events()), None)
            if found is not None:
                return found
            assert self.process.is_alive(), self.output.read_text()
            time.sleep(_POLL_SECONDS)
        raise AssertionError(f"rank {self.rank} did not say it: {self.output.read_text()}")

    def await_step(self, step: int) -> None:
        self.await_event(lambda event: event["event"] == "step" and event["step"] >= step)


class WorkerGang:
    """All members of one attempt; options that are not given are those of a small, talkative training."""

    def __init__(
        self,
        folder: Path,
        size: int,
        *,
        checkpoints: Path | None = None,
        only: Iterable[int] | None = None,
        environment: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.members: list[Member] = []
        folder.mkdir(parents=True, exist_ok=True)
        shared = _environment(size, checkpoints, options) | dict(environment or {})
        for rank in range(size) if only is None else only:
            own = {"RANK": str(rank), "MUSTER_TERMINATION_LOG": str(folder / f"message-{rank}")}
            self.members.append(Member(rank, folder / f"rank-{rank}", shared | own, ["run"]))

    @property
    def first(self) -> Member:
        return self.members[0]

    def send(self, number: signal.Signals, *ranks: int) -> None:
        """To these ranks, or to all."""
        for member in self.members:
            if not ranks or member.rank in ranks:
                member.send(number)

    def exit_codes(self) -> list[int | None]:
        return [member.exit_code() for member in self.members]

    def losses(self) -> dict[int, float]:
        """By step, exactly as logged."""
        return {event["step"]: event["loss"] for event in self.first.events("step")}

    def end(self) -> None:
        """Whatever a test left running."""
        for member in self.members:
            if member.process.is_alive():
                member.process.kill()
            member.process.join()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _environment(size: int, checkpoints: Path | None, options: Mapping[str, Any]) -> dict[str, str]:
    kept = {"MUSTER_CHECKPOINT_DIR": str(checkpoints)} if checkpoints else {}
    return {
        "MUSTER_JOB": "digits",
        "MUSTER_JOB_TYPE": "training",
        "MUSTER_CONFIG": json.dumps(_SMALL | dict(options)),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": str(size),
        **kept,
    }


def _run(arguments: list[str], environment: Mapping[str, str], output: str) -> None:
    """In the new process: as if started by a kubelet."""
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, sys.stdout.fileno())
    os.dup2(descriptor, sys.stderr.fileno())
    os.environ.update(environment)
    sys.exit(main(arguments))
