"""Where everything lies: the state folder of one instance and the cache shared by all of a user."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import platformdirs

APPLICATION = "muster"
INSTANCE_FILE = "instance.json"


def default_state_dir() -> Path:
    """The state folder used when none is named."""
    return Path(platformdirs.user_state_dir(APPLICATION, appauthor=False))


def cache_dir() -> Path:
    """The folder for what can be made again: built components and the claims on ports."""
    return Path(platformdirs.user_cache_dir(APPLICATION, appauthor=False))


@dataclass(frozen=True)
class StateLayout:
    """The paths inside a state folder; tests and tools rely on these names."""

    root: Path

    @property
    def instance_file(self) -> Path:
        return self.root / INSTANCE_FILE

    @property
    def lock_file(self) -> Path:
        return self.root / "lock"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def etcd(self) -> Path:
        return self.root / "etcd"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def tokens(self) -> Path:
        return self.root / "tokens"

    @property
    def kubeconfigs(self) -> Path:
        return self.root / "kubeconfigs"

    @property
    def stores(self) -> Path:
        return self.root / "stores"

    @property
    def process_nodes(self) -> Path:
        return self.root / "process-nodes"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def kubeconfig(self, user: str) -> Path:
        return self.kubeconfigs / f"{user}.yaml"

    def certificate(self, name: str) -> Path:
        return self.pki / f"{name}.crt"

    def private_key(self, name: str) -> Path:
        return self.pki / f"{name}.key"

    def public_key(self, name: str) -> Path:
        return self.pki / f"{name}.pub"

    @property
    def folders(self) -> tuple[Path, ...]:
        settings = (self.pki, self.config, self.tokens, self.kubeconfigs)
        return (*settings, self.etcd, self.stores, self.logs, self.process_nodes)

    def make(self) -> None:
        """Creates the folders, closed to other users since keys and tokens lie in them."""
        for folder in (self.root, *self.folders):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def remove(self) -> None:
        """Removes what an instance made and nothing else: the state folder may have been somebody's home."""
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)
        self.instance_file.unlink(missing_ok=True)
        self.lock_file.unlink(missing_ok=True)
        if not any(self.root.iterdir()):
            self.root.rmdir()
