"""JSON patches (RFC 6902), of additions only: what somebody else wrote is never taken away."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec


class Operation(msgspec.Struct, frozen=True):
    """One step of a patch; `add` also replaces a member that an object has already."""

    path: str
    value: Any
    op: str = "add"


def pointer(*parts: str | int) -> str:
    """A JSON pointer with every part escaped."""
    return "/" + "/".join(map(_escaped, parts))


@lru_cache(maxsize=1024)
def _escaped(part: str | int) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


def add_entries(parent: tuple[str | int, ...], present: bool, entries: dict[str, str]) -> list[Operation]:
    """Adds members to an object that may be absent; nothing when there is nothing to add."""
    if not entries:
        return []
    if not present:
        return [Operation(pointer(*parent), entries)]
    return [Operation(pointer(*parent, key), value) for key, value in entries.items()]
