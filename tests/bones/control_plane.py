"""The real control plane that a test run shares: started once, skipped with a reason where it cannot exist."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from bones.kube import WaitTimeoutError
from muster_local.cluster import Cluster
from muster_local.errors import LocalError

FAILPOINTS = "MUSTER_FAILPOINTS"
FAILPOINTS_LOG = "MUSTER_FAILPOINTS_LOG"
SHORT_LEASE = {
    "MUSTER_LEASE_DURATION": "8",
    "MUSTER_LEASE_RENEW_DEADLINE": "6",
    "MUSTER_LEASE_RETRY_PERIOD": "1",
}
"""A frozen leader's Lease runs out sooner: tests wait for that each time."""
POLL_SECONDS = 0.02


def start_cluster(state_dir: Path, *, controller: Mapping[str, str] = SHORT_LEASE, **options: Any) -> Cluster:
    """A running instance below `state_dir`, without stores unless they are asked for.

    Where there are no binaries a laptop skips and CI fails.
    """
    cluster = Cluster(state_dir)
    options.setdefault("stores", False)
    try:
        cluster.up(env={"controller": controller}, **options)
    except LocalError as error:
        cluster.down()
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no control plane on this machine: {error}")
    except BaseException:
        cluster.down()
        raise
    return cluster


class Kubectl:
    """Runs kubectl as a person would; `fails` gives what it says when it refuses."""

    def __init__(self, cluster: Cluster) -> None:
        self.kubeconfig = cluster.kubeconfig()
        self._program = str(cluster.binary("kubectl"))

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        done = self._run(arguments, stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def fails(self, *arguments: str, stdin: str | None = None) -> str:
        """The error text of a command that has to fail."""
        done = self._run(arguments, stdin)
        assert done.returncode != 0, f"kubectl {' '.join(arguments)} went through: {done.stdout}"
        return done.stderr

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command with whatever outcome it has."""
        return self._run(arguments, None)

    def line(self, *arguments: str) -> list[str]:
        """The whole command line, for a test that starts it by itself."""
        return [self._program, "--kubeconfig", str(self.kubeconfig), *arguments]

    def _run(self, arguments: tuple[str, ...], stdin: str | None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.line(*arguments), input=stdin, capture_output=True, text=True, timeout=60, check=False
        )


class Faults:
    """Hurts components and heals exactly those again when the test is over."""

    def __init__(self, cluster: Cluster, log: Path) -> None:
        self._cluster = cluster
        self._touched: list[str] = []
        self._armed: set[str] = set()
        self.log = log

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """A deadly signal; it stays dead until started."""
        self._touch(name)
        self._cluster.kill(name, number)
        self.wait_dead(name)

    def crash(self, name: str) -> None:
        """SIGKILL to the process and to all that it has started, as when a machine loses its power."""
        self._touch(name)
        for process in self._tree(name):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.wait_dead(name)

    def stop(self, name: str) -> None:
        """Take it away in good order."""
        self._touch(name)
        self._cluster.stop(name)

    def start(self, name: str, env: Mapping[str, str] | None = None) -> None:
        self._touch(name)
        if env is None:
            self._armed.discard(name)
        self._cluster.start(name, env=_environment(name, env))

    def pause(self, name: str) -> None:
        """Freeze the process with all its children, as a machine that stands still does."""
        self._touch(name)
        for process in self._tree(name):
            process.suspend()

    def hang(self, name: str) -> None:
        """Stop the serving process alone: a watchdog above it sees that it is silent."""
        self._touch(name)
        self._tree(name)[-1].suspend()

    def resume(self, name: str) -> None:
        for process in reversed(self._tree(name)):
            process.resume()

    def arm(self, name: str, failpoints: str, env: Mapping[str, str] | None = None) -> None:
        """Start it anew with failpoints, whose hits are logged to `self.log`."""
        self._touch(name)
        self._armed.add(name)
        self._cluster.stop(name)
        self._cluster.start(
            name, env=_environment(name, {FAILPOINTS: failpoints, FAILPOINTS_LOG: str(self.log), **(env or {})})
        )

    def hits(self, name: str) -> int:
        """How often a named failpoint was reached since it was armed."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return sum(1 for line in lines if line.split()[0] == name)

    def wait_hit(self, name: str, count: int = 1, timeout: float = 30) -> None:
        wait_until(lambda: self.hits(name) >= count, timeout, f"{count} hits of {name}")

    def wait_dead(self, name: str, timeout: float = 30) -> None:
        """Until the process is gone, by its own failpoint or by ours."""
        wait_until(lambda: not self.is_running(name), timeout, f"the end of {name}")

    def wait_paused(self, name: str, timeout: float = 60) -> None:
        """Until a failpoint has stopped the process in its tracks; a watchdog above it is stopped as well."""
        self._touch(name)
        wait_until(lambda: _is_stopped(self._tree(name)[-1]), timeout, f"{name} at its failpoint")
        for process in self._tree(name):
            process.suspend()

    def is_running(self, name: str) -> bool:
        return self._cluster.is_running(name)

    def heal(self) -> None:
        """Every touched component runs again without failpoints; replicas that a test added are gone."""
        for name in dict.fromkeys(self._touched):
            if self.is_running(name):
                self.resume(name)
            if name in self._armed or "@" in name:
                self._cluster.stop(name)
            if "@" not in name and not self.is_running(name):
                self._cluster.start(name, env=_environment(name))
        self._touched.clear()
        self._armed.clear()

    def _tree(self, name: str) -> list[psutil.Process]:
        """The process, then its children."""
        first = psutil.Process(self._cluster.pid(name))
        return [first, *first.children(recursive=True)]

    def _touch(self, name: str) -> None:
        self._touched.append(name)


def _environment(name: str, env: Mapping[str, str] | None = None) -> dict[str, str]:
    return {**(SHORT_LEASE if name.startswith("controller") else {}), **(env or {})}


def _is_stopped(process: psutil.Process) -> bool:
    return bool(process.status() == psutil.STATUS_STOPPED)


def wait_until(condition: Any, timeout: float, what: str) -> None:
    """For conditions that no watch tells, such as the end of a process."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise WaitTimeoutError(f"waited {timeout:.0f} s for {what}")
        time.sleep(POLL_SECONDS)
