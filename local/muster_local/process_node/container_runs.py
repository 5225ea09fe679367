"""One container of a pod: its runs so far, the newest of them watched, older ones thrown away."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from muster_local.process_node.attempts import Run
from muster_local.process_node.decisions import ContainerView, Waiting
from muster_local.process_node.folders import KEPT_ATTEMPTS, attempt_numbers
from muster_local.process_node.objects import Container
from muster_local.process_node.probe_rules import known_probe
from muster_local.process_node.restarts import BackoffRule, counted_crashes
from muster_local.process_node.supervisor.launch import Launch


class ContainerRuns:
    """Found again from its folder after a restart of the agent."""

    def __init__(self, container: Container, folder: Path, rule: BackoffRule, notify: Callable[[], None]) -> None:
        self.container = container
        self.trouble: Waiting | None = None
        """What keeps it from starting, until it is tried again."""
        self.retry_at = 0.0
        self.is_started = False
        self.is_ready = False
        self._expect_probes()
        self._folder = folder
        self._rule = rule
        self._notify = notify
        self._runs = [Run(folder / str(number), number) for number in attempt_numbers(folder)]
        if self._runs and not self._runs[-1].is_begun():
            self._runs.pop()

    async def adopt(self) -> None:
        """Watches the run that our predecessor started, if it still goes on."""
        if self._runs:
            await self._runs[-1].adopt()
            if self._runs[-1].ended() is None:
                self._runs[-1].watch(self._notify)

    def _expect_probes(self) -> None:
        """Without a probe a container is ready as soon as it runs."""
        self.is_started = known_probe(self.container.startup_probe) is None
        self.is_ready = known_probe(self.container.readiness_probe) is None

    @property
    def newest(self) -> Run | None:
        return self._runs[-1] if self._runs else None

    @property
    def is_running(self) -> bool:
        return self.newest is not None and self.newest.ended() is None

    def view(self) -> ContainerView:
        """As decisions are made about it."""
        newest = self.newest
        if newest is None:
            return ContainerView(trouble=self.trouble)
        previous = self._runs[-2].exit(self.container) if len(self._runs) > 1 else None
        return ContainerView(
            attempt=newest.attempt(self.container),
            previous=previous,
            trouble=self.trouble,
            is_started=self.is_started,
            is_ready=self.is_started and self.is_ready,
        )

    async def start(self, launch: Launch) -> None:
        """Begins the next run."""
        view = self.view()
        number, crashes = 0, 0
        if view.attempt is not None and view.exit is not None:
            number = view.attempt.number + 1
            crashes = counted_crashes(view.attempt.crashes, view.exit.ran_seconds, self._rule) + 1
        run = Run(self._folder / str(number), number)
        await run.start(replace(launch, crashes=crashes))
        self.trouble = None
        self._expect_probes()
        self._runs.append(run)
        run.watch(self._notify)
        for old in self._runs[:-KEPT_ATTEMPTS]:
            shutil.rmtree(old.folder, ignore_errors=True)
        del self._runs[:-KEPT_ATTEMPTS]

    def next_folder(self) -> Path:
        """Where the next run will have its files."""
        return self._folder / str(self.newest.number + 1 if self.newest is not None else 0)

    def terminate(self) -> None:
        if self.newest is not None and self.is_running:
            self.newest.terminate()

    def kill(self) -> None:
        if self.newest is not None and self.is_running:
            self.newest.kill()

    def log_folder(self, *, previous: bool) -> Path | None:
        """The run whose output is wanted."""
        if previous:
            return self._runs[-2].folder if len(self._runs) > 1 else None
        return self.newest.folder if self.newest is not None else None

    def close(self) -> None:
        """Stops watching; what runs goes on."""
        for run in self._runs:
            run.stop_watching()
