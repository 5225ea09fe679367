"""The addresses of the stores with their passwords, in files that only their owner can read."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from muster_local.errors import LocalError
from muster_local.secure_files import write_private

USER = "muster"
DATABASE = "muster"
_PASSWORD_BYTES = 24
# Of a unix socket address Linux takes 107 bytes.
_LONGEST_SOCKET = 107
_SCHEMES = {"postgres": ("postgres", "postgresql"), "redis": ("redis", "rediss", "unix")}


@dataclass(frozen=True)
class StoreAddress:
    """One store as its clients reach it: on loopback, and by a socket unless the path to it is too long."""

    store: str
    port: int
    socket: Path

    @property
    def has_socket(self) -> bool:
        return len(str(self.socket).encode()) <= _LONGEST_SOCKET

    def url(self, password: str) -> str:
        """With the password, by the socket where there is one: it is the faster way."""
        if self.store == "postgres":
            if self.has_socket:
                place = f"?host={quote(str(self.socket.parent), safe='')}&port={self.port}"
                return f"postgresql://{USER}:{password}@/{DATABASE}{place}"
            return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{DATABASE}"
        if self.has_socket:
            return f"unix://:{password}@{quote(str(self.socket))}?db=0"
        return f"redis://:{password}@127.0.0.1:{self.port}/0"


def url_file(folder: Path, store: str) -> Path:
    """Where the address of a store is written."""
    return folder / f"{store}.url"


def read_url(folder: Path, store: str) -> str | None:
    """The address of a store with its password; nothing when this instance has none."""
    file = url_file(folder, store)
    return file.read_text().strip() if file.exists() else None


def write_url(folder: Path, store: str, url: str) -> None:
    """For the components that need it, and for nobody else: mode 0600."""
    write_private(url_file(folder, store), f"{url}\n")


def password_of(folder: Path, store: str) -> str:
    """The password chosen when the store was first started; made now if it never was."""
    file = folder / f"{store}.password"
    if not file.exists():
        write_private(file, secrets.token_urlsafe(_PASSWORD_BYTES))
    return file.read_text()


def check_url(store: str, url: str) -> None:
    """Refuses an address that cannot be one, without printing its password."""
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme not in _SCHEMES[store]:
        known = ", ".join(f"{name}://" for name in _SCHEMES[store])
        raise LocalError(f"the address of {store} must begin with one of {known}")
