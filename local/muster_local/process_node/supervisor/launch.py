"""What the agent and the supervisor tell each other through files in the folder of one attempt."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

LAUNCH_FILE = "launch.json"
RUNNING_FILE = "running.json"
EXIT_FILE = "exit.json"
LOCK_FILE = "lock"
LOG_FILE = "log"
STAGING_FOLDER = "view"

LOCK_DESCRIPTOR = 3
"""Where the supervisor finds the lock that it inherits: while it is held, this attempt has a supervisor."""


class Isolation(StrEnum):
    """How a container gets its private view of the file system."""

    ROOT = "root"
    USER_NAMESPACE = "user-namespace"
    NONE = "none"


@dataclass(frozen=True)
class Mount:
    """A file or folder that the container sees at `target`."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Launch:
    """Everything needed to start a container; `crashes` and `reason` are the agent's own memory."""

    argv: list[str]
    environment: dict[str, str]
    working_directory: str
    hostname: str
    isolation: Isolation = Isolation.NONE
    mounts: list[Mount] = field(default_factory=list)
    log_limit: int = 10 << 20
    crashes: int = 0


@dataclass(frozen=True)
class Running:
    """The two processes of a started container, and what tells them from later ones of the same numbers."""

    pid: int
    start: int
    child: int
    child_start: int
    started_at: str
    boot: str = ""
    namespace: str = ""
    """Of mounts: the container's."""


@dataclass(frozen=True)
class Ended:
    """How a container ended; `error` is set when it could not be started at all."""

    exit_code: int
    signal: int
    started_at: str
    finished_at: str
    error: str = ""


def read_launch(folder: Path) -> Launch:
    document = json.loads((folder / LAUNCH_FILE).read_bytes())
    mounts = [Mount(**entry) for entry in document.pop("mounts")]
    isolation = Isolation(document.pop("isolation"))
    return Launch(**document, isolation=isolation, mounts=mounts)


def read_running(folder: Path) -> Running | None:
    document = _read(folder / RUNNING_FILE)
    return None if document is None else Running(**document)


def read_ended(folder: Path) -> Ended | None:
    document = _read(folder / EXIT_FILE)
    return None if document is None else Ended(**document)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return document


def write(path: Path, value: Launch | Running | Ended) -> None:
    """Replaces the file in one step: a reader sees all of it or none."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(value), file)
    Path(name).replace(path)
