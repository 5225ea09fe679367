"""What can go wrong with a local control plane, each error with what to do about it.

LocalError
├── BinariesMissingError
├── BuildFailedError
├── ComponentFailedError
├── InstanceMissingError
├── ApiError
├── ApiUnreachableError
└── ManifestsMissingError
"""

from __future__ import annotations


class LocalError(Exception):
    """The root: the command line prints its text and exits with 1."""


class BinariesMissingError(LocalError):
    """Neither the environment has the Kubernetes programs nor can they be built here."""


class BuildFailedError(LocalError):
    """The Go tool chain refused to build a component."""


class ComponentFailedError(LocalError):
    """A component ended or did not become ready in time."""


class InstanceMissingError(LocalError):
    """The state folder holds no control plane that could be asked or stopped."""


class ManifestsMissingError(LocalError):
    """Neither the source tree nor the installed package has the manifests."""


class ApiUnreachableError(LocalError):
    """The API server does not answer: it is not running, or it is paused."""


class ApiError(LocalError):
    """The API server refused a request."""

    def __init__(self, status: int, method: str, path: str, message: str) -> None:
        super().__init__(f"{method} {path}: {status} {message}")
        self.status = status
