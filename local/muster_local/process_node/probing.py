"""Asks containers how they are: startup first, then readiness and liveness side by side."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import aiohttp
import structlog

from muster_local.process_node.container_runs import ContainerRuns
from muster_local.process_node.probe_rules import HttpAction, Probe, Verdicts, known_probe, port_number

log = structlog.get_logger(__name__)

_PACKAGE_ROOT: Final = Path(__file__).resolve().parents[2]
_LONGEST_OUTPUT: Final = 300

Unhealthy = Callable[[ContainerRuns, str], None]
"""Told of a probe that failed, with the words for its event."""


class ProbeFailedError(Exception):
    """The answer was not the one that counts as success."""


class Prober:
    """Watches over one run of a container; cancelled when that run ends."""

    def __init__(self, runs: ContainerRuns, address: str, grace: float, notify: Callable[[], None], tell: Unhealthy):
        self._runs = runs
        self._address = address
        self._grace = grace
        self._notify = notify
        self._tell = tell
        self._container = runs.container

    async def run(self) -> None:
        startup = known_probe(self._container.startup_probe)
        if startup is not None and not await self._until_started(startup):
            await self._end()
            return
        self._runs.is_started = True
        self._notify()
        async with asyncio.TaskGroup() as group:
            if readiness := known_probe(self._container.readiness_probe):
                group.create_task(self._follow_readiness(readiness))
            if liveness := known_probe(self._container.liveness_probe):
                group.create_task(self._follow_liveness(liveness))

    async def _until_started(self, probe: Probe) -> bool:
        verdicts = Verdicts(probe, holds=False)
        await asyncio.sleep(probe.initial_delay_seconds)
        while True:
            if verdicts.add(await self._ask("Startup", probe)):
                return verdicts.holds
            await asyncio.sleep(probe.period_seconds)

    async def _follow_readiness(self, probe: Probe) -> None:
        verdicts = Verdicts(probe, holds=False)
        await asyncio.sleep(probe.initial_delay_seconds)
        while True:
            verdicts.add(await self._ask("Readiness", probe))
            if verdicts.holds != self._runs.is_ready:
                self._runs.is_ready = verdicts.holds
                self._notify()
            await asyncio.sleep(probe.period_seconds)

    async def _follow_liveness(self, probe: Probe) -> None:
        verdicts = Verdicts(probe, holds=True)
        await asyncio.sleep(probe.initial_delay_seconds)
        while verdicts.holds:
            verdicts.add(await self._ask("Liveness", probe))
            if verdicts.holds:
                await asyncio.sleep(probe.period_seconds)
        await self._end()

    async def _end(self) -> None:
        """Its restart policy decides what comes after."""
        self._runs.terminate()
        await asyncio.sleep(self._grace)
        self._runs.kill()

    async def _ask(self, kind: str, probe: Probe) -> bool:
        try:
            async with asyncio.timeout(probe.timeout_seconds):
                await self._question(probe)
        except (ProbeFailedError, OSError, ValueError, aiohttp.ClientError, TimeoutError) as error:
            words = str(error) or type(error).__name__
            self._tell(self._runs, f"{kind} probe failed: {words}")
            return False
        return True

    async def _question(self, probe: Probe) -> None:
        ports = self._container.ports
        if probe.exec is not None:
            await self._ask_command(probe.exec.command)
        elif probe.http_get is not None:
            await _ask_http(probe.http_get, self._address, port_number(probe.http_get.port, ports))
        elif probe.tcp_socket is not None:
            host = probe.tcp_socket.host or self._address
            _, writer = await asyncio.open_connection(host, port_number(probe.tcp_socket.port, ports))
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _ask_command(self, command: Iterable[str]) -> None:
        newest = self._runs.newest
        if newest is None:
            raise ProbeFailedError("not running")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-S", "-m", "muster_local.process_node.supervisor.enter", str(newest.folder)),
            *command,
            env={"PYTHONPATH": str(_PACKAGE_ROOT)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise ProbeFailedError(output[:_LONGEST_OUTPUT].decode(errors="replace") or f"exit {process.returncode}")


async def _ask_http(action: HttpAction, address: str, port: int) -> None:
    url = f"{action.scheme.lower()}://{action.host or address}:{port}/{action.path.lstrip('/')}"
    headers = {header.name: header.value for header in action.http_headers}
    async with (
        aiohttp.ClientSession(trust_env=False) as session,
        # Certificates of probed containers are not verified by kubelets either.
        session.get(url, headers=headers, ssl=False, allow_redirects=False) as answer,
    ):
        if answer.status >= 400:
            raise ProbeFailedError(f"HTTP probe failed with statuscode: {answer.status}")


class Probers:
    """The probers of one pod: one for each running container that has probes."""

    def __init__(self, notify: Callable[[], None], tell: Unhealthy) -> None:
        self._notify = notify
        self._tell = tell
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}

    def follow(self, all_runs: Iterable[ContainerRuns], address: str, grace: float) -> None:
        """Starts and ends probers so that they fit what runs now."""
        wanted = {
            (runs.container.name, runs.newest.number): runs
            for runs in all_runs
            if runs.newest is not None and runs.is_running and runs.container.has_known_probes
        }
        for key in self._tasks.keys() - wanted.keys():
            self._tasks.pop(key).cancel()
        for key, runs in wanted.items():
            if key not in self._tasks:
                prober = Prober(runs, address, grace, self._notify, self._tell)
                self._tasks[key] = asyncio.create_task(prober.run(), name=f"probes of {key[0]}")

    async def close(self) -> None:
        """Ends them all."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
