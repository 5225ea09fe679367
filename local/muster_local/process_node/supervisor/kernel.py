"""The few system calls that Python has no words for."""

from __future__ import annotations

import ctypes
import os
import signal

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWUSER = 0x10000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Leaves the parent's namespaces for new ones."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def join_namespace(descriptor: int) -> None:
    """Enters the namespace that an open file of /proc/.../ns stands for."""
    _check(_libc.setns(ctypes.c_int(descriptor), ctypes.c_int(0)), "setns")


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """mount(2)."""
    result = _libc.mount(_text(source), _text(target), _text(kind), ctypes.c_ulong(flags), _text(options))
    _check(result, target)


def bind(source: str, target: str) -> None:
    """Shows a file or folder, with what is mounted below it, at another place as well."""
    mount(source, target, None, MS_BIND | MS_REC)


def make_read_only(target: str) -> None:
    """Closes a bind mount for writing; flags that a less privileged namespace may not drop are kept."""
    kept = os.statvfs(target).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount(None, target, None, MS_BIND | MS_REMOUNT | MS_RDONLY | kept)


def die_with_parent() -> None:
    """This process is killed when its parent ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0), "prctl")


def adopt_orphans() -> None:
    """Descendants whose parents end become this process's children."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0), "prctl")


def _text(value: str | None) -> bytes | None:
    return None if value is None else os.fsencode(value)


def _check(result: int, subject: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), subject)
