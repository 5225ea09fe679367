"""Runs a command inside a running container: with its view of the file system, its variables and its folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from muster_local.process_node.supervisor import kernel
from muster_local.process_node.supervisor.identity import is_alive
from muster_local.process_node.supervisor.launch import Isolation, read_launch, read_running

NOT_RUNNING = 125


def main() -> None:
    """The folder of the attempt, then the command."""
    folder, command = Path(sys.argv[1]), sys.argv[2:]
    launch, running = read_launch(folder), read_running(folder)
    if running is None or not is_alive(running.child, running.child_start):
        sys.exit(NOT_RUNNING)
    if launch.isolation is not Isolation.NONE:
        _join(running.child, with_user=launch.isolation is Isolation.USER_NAMESPACE)
    os.chdir(launch.working_directory)
    os.execvpe(command[0], command, launch.environment)


def _join(pid: int, *, with_user: bool) -> None:
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_CLOEXEC)
    kinds = (["user"] if with_user else []) + ["uts", "mnt"]
    spaces = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in kinds]
    for space in spaces:
        kernel.join_namespace(space)
    os.fchdir(root)
    os.chroot(".")


if __name__ == "__main__":
    main()
