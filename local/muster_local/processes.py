"""Starting detached processes and ending exactly those, never one that merely got the same process id."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import psutil

_START_TOLERANCE_SECONDS = 2.0
_POLL_SECONDS = 0.02
_BECOMING_SECONDS = 10.0
_OPEN_FILES = 65_536


class ProcessRecord(msgspec.Struct, frozen=True, rename="camel"):
    """A started process; its start time and program tell it from a later one with the same id."""

    pid: int
    started: float
    command: list[str]
    polite_signal: int = signal.SIGTERM
    """What ends it in good order."""
    children_apart: bool = False
    """Its children make sessions of their own and belong to it all the same."""


def spawn(
    command: Sequence[str], environment: Mapping[str, str], log: Path, *, prefix: Sequence[str] = ()
) -> ProcessRecord:
    """Starts a process in a session of its own, its output appended to a log; it outlives its starter.

    `prefix` is a program that changes something about itself and then becomes the command.
    """
    _raise_file_limit()
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    argv = [*prefix, *command]
    pid = os.posix_spawn(
        argv[0],
        argv,
        dict(environment),
        file_actions=actions,
        setsid=True,
        # Python ignores SIGPIPE; a Go or Python child must start with the defaults.
        setsigdef=[signal.SIGPIPE],
        setsigmask=[],
    )
    record = ProcessRecord(pid, _start_time(pid), list(command))
    if prefix:
        _await_becoming(record)
    return record


def _await_becoming(record: ProcessRecord) -> None:
    """Returns once the prefix has become the command, or has failed to."""
    deadline = time.monotonic() + _BECOMING_SECONDS
    try:
        process = psutil.Process(record.pid)
        while process.cmdline()[1:] != record.command[1:] and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    except psutil.Error:
        # Whoever waits for it to be ready finds that it has ended, and reads why in its log.
        return


def _raise_file_limit() -> None:
    """Children inherit the limit, and the extender holds one connection per waiting pod."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _start_time(pid: int) -> float:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return time.time()


def is_running(record: ProcessRecord) -> bool:
    """Whether this very process still runs; a zombie does not, and is reaped if it is our child."""
    return _identify(record) is not None


def _identify(record: ProcessRecord) -> psutil.Process | None:
    try:
        process = psutil.Process(record.pid)
        if abs(process.create_time() - record.started) > _START_TOLERANCE_SECONDS:
            return None
        if process.status() == psutil.STATUS_ZOMBIE:
            return _ending(process)
        return process if _same_program(process.cmdline(), record.command) else None
    except psutil.ZombieProcess:
        # Since the line before.
        return _ending(process)
    except psutil.Error:
        return None


def _ending(process: psutil.Process) -> psutil.Process | None:
    """Its first thread is gone; as long as the others are not, they hold its sockets and files."""
    with contextlib.suppress(psutil.Error):
        if process.num_threads() > 1:
            return process
    reap(process.pid)
    return None


def _same_program(actual: list[str], recorded: list[str]) -> bool:
    # A process that is just ending has no command line any more.
    return not actual or actual[1:] == recorded[1:]


def reap(pid: int) -> None:
    """Takes note of the end of a child, which is a zombie until then."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def send_signal(record: ProcessRecord, number: signal.Signals) -> bool:
    """Signals this very process, as a person with its id would; False when it no longer runs."""
    process = _identify(record)
    if process is None:
        return False
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True


def send_signal_to_all(record: ProcessRecord, number: signal.Signals) -> bool:
    """Signals the process and its children, which share the session that it was started in."""
    if _identify(record) is None:
        return False
    if record.children_apart:
        # The parent first: it must not answer for children that it sees fall.
        return any([_signalled(member, number) for member in family(record)])
    try:
        os.killpg(record.pid, number)
    except ProcessLookupError:
        return False
    return True


def _signalled(process: psutil.Process, number: signal.Signals) -> bool:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True


def family(record: ProcessRecord) -> list[psutil.Process]:
    """The process and its children, the one that does the work last; nothing when it no longer runs.

    Children with a session of their own are counted only where the record says so: a process node's containers live on
    without it.
    """
    process = _identify(record)
    if process is None:
        return []
    try:
        children = process.children(recursive=True)
        return [process, *(child for child in children if record.children_apart or _session(child) == record.pid)]
    except psutil.NoSuchProcess:
        return []


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return None


def await_gone(members: Iterable[psutil.Process], seconds: float) -> None:
    """Returns once they have ended, or in good time; whether their parent has reaped them does not matter."""
    deadline = time.monotonic() + seconds
    remaining = [member for member in members if not _has_ended(member)]
    while remaining and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        remaining = [member for member in remaining if not _has_ended(member)]


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def end(records: Iterable[ProcessRecord], grace_seconds: float) -> None:
    """Ends processes together: politely, then for sure."""
    remaining = [record for record in records if is_running(record)]
    for record in remaining:
        send_signal(record, signal.Signals(record.polite_signal))
        # A stopped process would sleep through it.
        send_signal_to_all(record, signal.SIGCONT)
    remaining = _await_end(remaining, grace_seconds)
    for record in remaining:
        send_signal_to_all(record, signal.SIGKILL)
    _await_end(remaining, 10.0)


def _await_end(records: list[ProcessRecord], seconds: float) -> list[ProcessRecord]:
    deadline = time.monotonic() + seconds
    remaining = [record for record in records if is_running(record)]
    while remaining and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        remaining = [record for record in remaining if is_running(record)]
    return remaining
