"""One run of a container: its supervisor is started, watched, signalled and, after a restart of ours, found again."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from muster_local.process_node.decisions import Attempt, Exit
from muster_local.process_node.objects import Container
from muster_local.process_node.supervisor import identity
from muster_local.process_node.supervisor import launch as files
from muster_local.process_node.supervisor.launch import Ended, Launch, Running

TERMINATION_LOG: Final = "termination-log"
_KILLED: Final = 137
_LONGEST_MESSAGE: Final = 4096
_LONGEST_LOG_MESSAGE: Final = 2048
_LOG_MESSAGE_LINES: Final = 80
_START_POLL_SECONDS: Final = 0.01
_PACKAGE_ROOT: Final = Path(__file__).resolve().parents[2]


class NotStartedError(Exception):
    """The supervisor itself did not come up; its own output says why."""


class Run:
    """The run in `folder`; all truth about it lies in the folder's files."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder = folder
        self.number = number
        self._descriptor: int | None = None

    # -- what is known

    def ended(self) -> Ended | None:
        """How it ended; a run whose supervisor vanished without a word counts as killed."""
        known = files.read_ended(self.folder)
        if known is None and not self.is_supervised():
            known = files.read_ended(self.folder) or self._lost()
        return known

    def running(self) -> Running | None:
        return files.read_running(self.folder)

    def is_begun(self) -> bool:
        """False when we were killed between writing down what to start and starting it."""
        return self.is_supervised() or self._has_come_up()

    def is_over(self) -> bool:
        """Whether nothing more will come of it: it has ended, or the whole pod is gone."""
        return self.ended() is not None or not self.folder.exists()

    def is_supervised(self) -> bool:
        """Whether a supervisor holds the lock that it has inherited; the kernel lets go of it with the process."""
        try:
            descriptor = os.open(self.folder / files.LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            # Shared, so that two who ask at once do not take each other for the supervisor.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _lost(self) -> Ended | None:
        running = self.running()
        if running is None:
            return None
        kill_group(running)
        now = datetime.now(UTC).isoformat()
        lost = Ended(_KILLED, int(signal.SIGKILL), running.started_at, now, "")
        files.write(self.folder / files.EXIT_FILE, lost)
        return lost

    def attempt(self, container: Container) -> Attempt:
        """The run as decisions are made about it."""
        ended = self.ended()
        running = self.running()
        launch = files.read_launch(self.folder)
        return Attempt(
            number=self.number,
            crashes=launch.crashes,
            started_at=_moment(running.started_at) if running is not None else None,
            exit=self._exit(ended, container) if ended is not None else None,
        )

    def exit(self, container: Container) -> Exit | None:
        ended = self.ended()
        return self._exit(ended, container) if ended is not None else None

    def _exit(self, ended: Ended, container: Container) -> Exit:
        reason = "StartError" if ended.error else "Completed" if ended.exit_code == 0 else "Error"
        return Exit(
            code=ended.exit_code,
            reason=reason,
            started_at=_moment(ended.started_at),
            finished_at=_moment(ended.finished_at),
            message=ended.error or self._termination_message(container, ended),
            signal=ended.signal,
        )

    def _termination_message(self, container: Container, ended: Ended) -> str:
        with contextlib.suppress(OSError):
            data = (self.folder / TERMINATION_LOG).read_bytes()[:_LONGEST_MESSAGE]
            if data:
                return data.decode(errors="replace")
        if container.termination_message_policy == "FallbackToLogsOnError" and ended.exit_code:
            return last_output(self.folder / files.LOG_FILE)
        return ""

    # -- what is done

    async def start(self, launch: Launch) -> None:
        """Starts the supervisor and returns when the container runs or has failed to."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / files.STAGING_FOLDER).mkdir(exist_ok=True)
        files.write(self.folder / files.LAUNCH_FILE, launch)
        pid = _spawn(self.folder)
        await self._await_start()
        # Ours to reap if it has ended already; else the descriptor tells.
        if self.running() is None:
            await asyncio.to_thread(_reap, pid)

    async def _await_start(self) -> None:
        # Without a limit: on a busy machine it may take long, and as long as the lock is held it will come up.
        while not self._has_come_up():
            if not self.is_supervised() and not self._has_come_up():
                raise NotStartedError(_tail(self.folder / "supervisor.log"))
            await asyncio.sleep(_START_POLL_SECONDS)

    def _has_come_up(self) -> bool:
        return self.running() is not None or files.read_ended(self.folder) is not None

    async def adopt(self) -> None:
        """Waits for a supervisor that our predecessor has just started."""
        if self.is_supervised():
            await self._await_start()

    def watch(self, on_end: Callable[[], None]) -> None:
        """Calls back once when the supervisor has ended; at once if it has by now."""
        running = self.running()
        loop = asyncio.get_running_loop()
        descriptor = _open_process(running) if running is not None else None
        if descriptor is None or running is None:
            loop.call_soon(on_end)
            return

        def ended() -> None:
            self.stop_watching()
            _reap(running.pid)
            on_end()

        self._descriptor = descriptor
        loop.add_reader(descriptor, ended)

    def stop_watching(self) -> None:
        if self._descriptor is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def terminate(self) -> None:
        """Asks the container's process group to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends all of it for sure."""
        self._signal(signal.SIGUSR1)

    def _signal(self, number: signal.Signals) -> None:
        running = self.running()
        if running is not None and is_supervisor_alive(running):
            with contextlib.suppress(ProcessLookupError):
                os.kill(running.pid, number)


def is_supervisor_alive(running: Running) -> bool:
    """Whether the supervisor that wrote this still runs; after a reboot its number is anybody's."""
    return running.boot == identity.boot() and identity.is_alive(running.pid, running.start)


def kill_group(running: Running) -> None:
    """Ends what a container whose supervisor was killed may have left behind; in doubt nothing."""
    if running.boot == identity.boot() and _is_own_group(running):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(running.child, signal.SIGKILL)


def _is_own_group(running: Running) -> bool:
    """Whether the container's first process still leads the group, or each of its members may well be of it.

    A group keeps its number from everybody else, but only while it has members: later a daemon may have got it, which
    left a group without a leader too. Its members see the machine's mounts, and a container's hardly ever do.
    """
    leader = identity.look_up(running.child)
    if leader is not None:
        return leader.start == running.child_start
    return all(
        process.session == running.child
        and process.start >= running.child_start
        and running.namespace == identity.mount_namespace(pid) != ""
        for pid, process in identity.group_members(running.child).items()
    )


def _spawn(folder: Path) -> int:
    lock = os.open(folder / files.LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # -S and -P: it needs nothing but the standard library, and starts in a third of the time.
        argv = [sys.executable, "-P", "-S", "-m", "muster_local.process_node.supervisor", str(folder)]
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        return os.posix_spawn(
            sys.executable,
            argv,
            {"PYTHONPATH": str(_PACKAGE_ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, lock, files.LOCK_DESCRIPTOR),
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(folder / "supervisor.log"), append, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigdef=[signal.SIGPIPE, signal.SIGTERM, signal.SIGINT],
            setsigmask=[],
        )
    finally:
        os.close(lock)


def _open_process(running: Running) -> int | None:
    if not is_supervisor_alive(running):
        return None
    try:
        descriptor = os.pidfd_open(running.pid)
    except OSError as error:
        if error.errno == errno.ESRCH:
            return None
        raise
    if is_supervisor_alive(running):
        return descriptor
    os.close(descriptor)
    return None


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _moment(text: str) -> datetime:
    # Nine digits of a second, of which Python reads six.
    head, separator, fraction = text.partition(".")
    if separator and fraction.endswith("Z"):
        text = f"{head}.{fraction[:6]}+00:00"
    return datetime.fromisoformat(text)


def last_output(log: Path) -> str:
    """The end of what a container printed, for people who look at its status alone."""
    try:
        lines = log.read_bytes().splitlines()[-_LOG_MESSAGE_LINES:]
    except OSError:
        return ""
    texts = [line.split(b" ", 3)[3] for line in lines if line.count(b" ") >= 3]
    return b"\n".join(texts)[-_LONGEST_LOG_MESSAGE:].decode(errors="replace")


def _tail(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[-1000:] or "the supervisor ended without a word"
    except OSError as error:
        return str(error)
