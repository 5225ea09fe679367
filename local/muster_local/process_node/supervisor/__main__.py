"""Runs one container and waits for its end, whatever happens to the agent.

SIGTERM is passed on to the container's process group, SIGUSR1 kills all of it. When the first process of a container
ends, everything that it has left behind is killed, as the end of a container does.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from muster_local.process_node.supervisor import kernel, view
from muster_local.process_node.supervisor.identity import boot, children_of, look_up, mount_namespace
from muster_local.process_node.supervisor.launch import (
    EXIT_FILE,
    LOCK_DESCRIPTOR,
    LOG_FILE,
    RUNNING_FILE,
    STAGING_FOLDER,
    Ended,
    Isolation,
    Launch,
    Running,
    read_launch,
    write,
)
from muster_local.process_node.supervisor.output import LogFile, Stream, timestamp

_NOT_STARTED = 128
_CHUNK = 1 << 16
_DRAIN_MILLISECONDS = 1000


def main() -> None:
    """The folder of the attempt is the only argument."""
    folder = Path(sys.argv[1])
    os.set_inheritable(LOCK_DESCRIPTOR, False)
    kernel.adopt_orphans()
    Supervisor(folder, read_launch(folder)).run()


class Supervisor:
    """One container from its start to its end."""

    def __init__(self, folder: Path, launch: Launch) -> None:
        self._folder = folder
        self._launch = launch
        self._started_at = timestamp()
        self._child = 0
        self._status: int | None = None
        self._streams: dict[int, Stream] = {}
        self._wake = self._listen_to_signals()

    def _listen_to_signals(self) -> int:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGTERM, lambda number, frame: self._signal_group(signal.SIGTERM))
        signal.signal(signal.SIGUSR1, lambda number, frame: self._signal_group(signal.SIGKILL))
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        return reader

    def run(self) -> None:
        signals = {signal.SIGTERM, signal.SIGUSR1}
        # Until there is somebody to pass them on to.
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        error = self._start()
        if error:
            os.waitpid(self._child, 0)
            self._finish(_NOT_STARTED, 0, error)
            return
        write(self._folder / RUNNING_FILE, self._running())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        self._follow()
        self._kill_the_rest()
        self._drain()
        status = self._status or 0
        code = os.waitstatus_to_exitcode(status)
        self._finish(code if code >= 0 else 128 - code, max(0, -code), "")

    def _start(self) -> str:
        """Forks the container and returns what kept it from starting, or nothing."""
        log = LogFile(self._folder / LOG_FILE, self._launch.log_limit)
        outputs = {name: os.pipe() for name in ("stdout", "stderr")}
        error_reader, error_writer = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            _become_container(self._launch, self._folder, outputs["stdout"][1], outputs["stderr"][1], error_writer)
        os.close(error_writer)
        for name, (reader, writer) in outputs.items():
            os.close(writer)
            self._streams[reader] = Stream(name, log)
        # Closed by a successful exec.
        with os.fdopen(error_reader, errors="replace") as report:
            return report.read()

    def _running(self) -> Running:
        pid, child = os.getpid(), self._child
        # Not reaped yet, so that both can be looked up even if the container has ended.
        start, child_start = (found.start if (found := look_up(number)) else 0 for number in (pid, child))
        return Running(pid, start, child, child_start, self._started_at, boot(), mount_namespace(child))

    def _signal_group(self, number: signal.Signals) -> None:
        # Not reaped yet, so neither the process nor the group can be anybody else's.
        if self._child and self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child, number)

    def _follow(self) -> None:
        """Passes output on until the container's first process has ended."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        for reader in self._streams:
            poll.register(reader, select.POLLIN)
        while not self._has_ended():
            for descriptor, _ in poll.poll():
                if descriptor == self._wake:
                    os.read(self._wake, _CHUNK)
                elif not self._read(descriptor):
                    poll.unregister(descriptor)

    def _has_ended(self) -> bool:
        pid, status = os.waitpid(self._child, os.WNOHANG)
        if pid:
            # The group may live on without its leader; it is ended with everything else.
            self._status = status
        return bool(pid)

    def _read(self, descriptor: int) -> bool:
        chunk = os.read(descriptor, _CHUNK)
        if chunk:
            self._streams[descriptor].feed(chunk)
        return bool(chunk)

    def _kill_the_rest(self) -> None:
        """Kills orphans, which are our children by now, until there is none left."""
        while orphans := children_of(os.getpid()):
            for orphan in orphans:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(orphan, signal.SIGKILL)
            for orphan in orphans:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(orphan, 0)

    def _drain(self) -> None:
        """Takes what is left in the pipes; bounded, should somebody outside have got hold of one."""
        for reader, stream in self._streams.items():
            poll = select.poll()
            poll.register(reader, select.POLLIN)
            while poll.poll(_DRAIN_MILLISECONDS) and self._read(reader):
                continue
            stream.close()

    def _finish(self, code: int, number: int, error: str) -> None:
        write(self._folder / EXIT_FILE, Ended(code, number, self._started_at, timestamp(), error))


def _become_container(launch: Launch, folder: Path, stdout: int, stderr: int, report: int) -> NoReturn:
    """Turns this process into the container; a failure goes into `report`."""
    try:
        os.setsid()
        if launch.isolation is not Isolation.NONE:
            view.enter(launch.isolation, launch.hostname)
            view.arrange(launch.mounts, launch.working_directory, str(folder / STAGING_FOLDER))
        kernel.die_with_parent()
        _reset_signals()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        os.chdir(launch.working_directory)
        os.umask(0o022)
        os.execvpe(launch.argv[0], launch.argv, launch.environment)
    except FileNotFoundError as error:
        missing = error.filename or launch.argv[0]
        os.write(report, f"no {missing!r} (program {launch.argv[0]!r}, PATH {_path(launch)})".encode())
    except OSError as error:
        os.write(report, str(error).encode())
    except BaseException:
        os.write(report, traceback.format_exc().encode())
    os._exit(_NOT_STARTED)


def _path(launch: Launch) -> str:
    return launch.environment.get("PATH", os.defpath)


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGPIPE, signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


if __name__ == "__main__":
    main()
