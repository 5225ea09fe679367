"""The names of everything that the index keeps."""

from __future__ import annotations

import msgspec

PREFIX = "muster"
GLOBAL_TAG = "index"
_FORBIDDEN = frozenset("{}/")


class QueueKey(msgspec.Struct, frozen=True, order=True):
    """A queue of a namespace. All of its keys share one hash tag, so that a cluster keeps them on one node."""

    namespace: str
    name: str

    def __post_init__(self) -> None:
        for field, text in (("namespace", self.namespace), ("name", self.name)):
            if not text or not _FORBIDDEN.isdisjoint(text):
                raise ValueError(f"{field}: {text!r} must be a name without braces and slashes")

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def waiting(self) -> str:
        """Sorted set: job to score, best first."""
        return self._key("waiting")

    @property
    def leases(self) -> str:
        """Sorted set: job to the end of its lease, in milliseconds of the server's clock."""
        return self._key("leases")

    @property
    def attempts(self) -> str:
        """Hash: job to attempt, for all attempts after the first."""
        return self._key("attempts")

    @property
    def marker(self) -> str:
        """Hash: written when the queue was complete, and gone when the store was emptied."""
        return self._key("marker")

    @property
    def rebuild(self) -> str:
        """String: the token of the rebuild that is under way."""
        return self._key("rebuild")

    def _key(self, kind: str) -> str:
        return f"{PREFIX}:{{{self.namespace}/{self.name}}}:{kind}"


GLOBAL_MARKER = f"{PREFIX}:{{{GLOBAL_TAG}}}:marker"
GLOBAL_REBUILD = f"{PREFIX}:{{{GLOBAL_TAG}}}:rebuild"


def bucket_key(namespace: str, name: str) -> str:
    """The token bucket of a tenant for one kind of call."""
    if not _FORBIDDEN.isdisjoint(namespace):
        raise ValueError(f"namespace: {namespace!r} must be a name without braces and slashes")
    return f"{PREFIX}:{{{namespace}}}:bucket:{name}"
