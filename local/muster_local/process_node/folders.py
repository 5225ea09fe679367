"""Where a process node keeps what it must find again after a restart; everything lies below the instance's state."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec

from muster_local.secure_files import write_private

POD_FILE = "pod.json"
KEPT_ATTEMPTS = 2
"""The newest and the one before it, for `kubectl logs --previous`."""


class PodRecord(msgspec.Struct, frozen=True):
    """Which pod a folder belongs to."""

    namespace: str
    name: str
    uid: str
    address: str


@dataclass(frozen=True, slots=True)
class NodeFolders:
    """All process nodes of an instance share `root`; each has a folder of its own in it."""

    root: Path
    node: str

    @property
    def pods(self) -> Path:
        return self.root / self.node / "pods"

    def pod(self, uid: str) -> PodFolder:
        return PodFolder(self.pods / uid)

    def claim(self, namespace: str, name: str) -> Path:
        """The content of a PersistentVolumeClaim, which every process node of the machine sees."""
        return self.root / "claims" / namespace / name

    def checkpoints(self, namespace: str, job: str) -> Path:
        """What the pods of one job share: this machine's stand-in for shared storage."""
        return self.root / "checkpoints" / namespace / job

    def known_pods(self) -> list[PodRecord]:
        """The pods whose folders are here; an unreadable record is none."""
        found = []
        for path in sorted(self.pods.glob(f"*/{POD_FILE}")):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=PodRecord))
            except (OSError, msgspec.MsgspecError):
                continue
        return found


@dataclass(frozen=True, slots=True)
class PodFolder:
    """One pod's volumes, hosts file and the runs of its containers."""

    path: Path

    @property
    def hosts(self) -> Path:
        return self.path / "hosts"

    def volume(self, name: str) -> Path:
        return self.path / "volumes" / name

    def working_directory(self, container: str) -> Path:
        return self.path / "work" / container

    def attempts(self, container: str) -> Path:
        return self.path / "containers" / container

    def make(self, record: PodRecord) -> None:
        """Creates the folder and writes down whose it is."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_private(self.path / POD_FILE, msgspec.json.encode(record))

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def attempt_numbers(container: Path) -> list[int]:
    """The numbers of the runs that are still kept, in order."""
    if not container.is_dir():
        return []
    return sorted(int(entry.name) for entry in container.iterdir() if entry.name.isdigit())
