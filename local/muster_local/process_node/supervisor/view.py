"""A private view of the file system for one container: its volumes at their paths, everything else the machine's.

Nothing is created on the machine: where a path does not exist, its parent is covered by a tmpfs that shows the
parent's entries and has room for one more. All of it belongs to a mount namespace and ends with its last process.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from muster_local.process_node.supervisor import kernel
from muster_local.process_node.supervisor.launch import Isolation, Mount

# Terminals and disks that no container needs; there are hundreds of them.
_LEFT_OUT_OF_DEV = re.compile(r"tty\d+|ttyS\d+|loop.*|ram\d+|vcs.*|nbd\d+|sd[a-z]+\d*|vd[a-z]+\d*|nvme.*")
_LONGEST_HOSTNAME = 64


def enter(isolation: Isolation, hostname: str) -> None:
    """Moves this process into namespaces of its own; mounts made from now on are seen by it and its children alone."""
    user, group = os.getuid(), os.getgid()
    flags = kernel.CLONE_NEWNS | kernel.CLONE_NEWUTS
    if isolation is Isolation.USER_NAMESPACE:
        kernel.unshare(flags | kernel.CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    else:
        kernel.unshare(flags)
    kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    socket.sethostname(hostname[:_LONGEST_HOSTNAME])


def arrange(mounts: Sequence[Mount], working_directory: str, staging: str) -> None:
    """Puts every mount at its place and makes sure of the working directory; `staging` is an empty folder."""
    ordered = sorted(mounts, key=lambda mount: len(PurePosixPath(mount.target).parts))
    # By descriptor: a volume may cover the folder in which the next one's source lies.
    sources = [os.open(mount.source, os.O_PATH | os.O_CLOEXEC) for mount in ordered]
    view = _View()
    wanted = [mount.target for mount in ordered] + [working_directory]
    if any(not os.path.lexists(_top(target)) for target in wanted):
        view.replace_root(staging)
    for mount, source in zip(ordered, sources, strict=True):
        view.show(source, mount.target)
    view.make_folder(working_directory)
    for mount, source in zip(ordered, sources, strict=True):
        os.close(source)
        if mount.read_only:
            kernel.make_read_only(mount.target)


def _top(target: str) -> str:
    return str(PurePosixPath("/", *PurePosixPath(target).parts[1:2]))


class _View:
    """Knows which folders are private, so that things may be created in them."""

    def __init__(self) -> None:
        self._private: list[Path] = []

    def replace_root(self, staging: str) -> None:
        """A root folder of our own with the machine's entries in it."""
        kernel.mount("tmpfs", staging, "tmpfs", 0, "mode=0755")
        # Or the folder above it would show it once more inside itself.
        kernel.mount(None, staging, None, kernel.MS_UNBINDABLE)
        _copy_entries("/", staging)
        os.chroot(staging)
        os.chdir("/")
        self._private.append(Path("/"))

    def show(self, source: int, target: str) -> None:
        """Binds an open file or folder to a path, which is made where it is missing."""
        if stat.S_ISDIR(os.fstat(source).st_mode):
            self.make_folder(target)
        else:
            self.make_folder(str(Path(target).parent))
            self._make_file(Path(target))
        kernel.bind(f"/proc/self/fd/{source}", target)
        self._private.append(Path(target).resolve())

    def make_folder(self, path: str) -> None:
        current = Path("/")
        for part in PurePosixPath(path).parts[1:]:
            parent, current = current, current / part
            if not current.is_dir():
                self._open(parent)
                current.mkdir()

    def _make_file(self, path: Path) -> None:
        if not path.exists():
            self._open(path.parent)
            path.touch()

    def _open(self, folder: Path) -> None:
        """Makes a folder one in which something may be created."""
        real = folder.resolve()
        if any(_is_at_or_below(real, private) for private in self._private):
            return
        _cover(str(real))
        self._private.append(real)


def _is_at_or_below(path: Path, private: Path) -> bool:
    """On the same file system: below a private root lie the machine's folders, which are not."""
    if path == private:
        return True
    return private in path.parents and path.stat().st_dev == private.stat().st_dev


def _cover(folder: str) -> None:
    """Covers a folder with a tmpfs that has the same entries."""
    original = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mode = stat.S_IMODE(os.fstat(original).st_mode)
    kernel.mount("tmpfs", folder, "tmpfs", 0, f"mode={mode:o}")
    _copy_entries(f"/proc/self/fd/{original}", folder, is_dev=folder == "/dev")
    os.close(original)


def _copy_entries(source: str, target: str, *, is_dev: bool = False) -> None:
    for entry in list(os.scandir(source)):
        if is_dev and _LEFT_OUT_OF_DEV.fullmatch(entry.name):
            continue
        # What we may not look into stays away from the container as well.
        with contextlib.suppress(PermissionError, FileNotFoundError):
            _copy_entry(entry, Path(target, entry.name))


def _copy_entry(entry: os.DirEntry[str], place: Path) -> None:
    if entry.is_symlink():
        place.symlink_to(Path(entry.path).readlink())
        return
    if entry.is_dir():
        place.mkdir()
    else:
        place.touch()
    kernel.bind(entry.path, str(place))
