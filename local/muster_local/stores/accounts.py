"""Running a program as somebody without rights: Postgres refuses to run as root."""

from __future__ import annotations

import os
import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path

from muster_local.errors import LocalError

# Made for it on many systems; else the one that owns nothing anywhere.
_NAMES = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """Who runs a program instead of root."""

    name: str
    user: int
    group: int

    def prefix(self, folder: Path) -> list[str]:
        """What stands before a command that this account runs, in a folder that it may enter, and then becomes it."""
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise LocalError("root cannot run Postgres without the program setpriv; install util-linux")
        identity = [f"--reuid={self.user}", f"--regid={self.group}", "--clear-groups"]
        return [setpriv, *identity, "/usr/bin/env", f"--chdir={folder}"]


def unprivileged_account() -> Account | None:
    """For root the account to use, for everybody else none: they run programs as themselves."""
    if os.getuid() != 0:
        return None
    for name in _NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise LocalError(f"root cannot run Postgres, and there is no account {' or '.join(_NAMES)} to run it")


def is_open_to_all(path: Path) -> bool:
    """Whether everybody may reach a path: nothing is made reachable here, only looked at."""
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in (path, *path.parents))
