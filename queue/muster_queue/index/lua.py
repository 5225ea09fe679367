"""The Lua scripts of the index: one file for each operation, named by it."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

import msgspec

from muster_queue.index import scripts

MOST_JOBS = 500
"""Of one call: Lua unpacks no more than a few thousand values, and other callers wait while a script runs."""


class Script(msgspec.Struct, frozen=True):
    """An operation as the server knows it (by digest) and as it is taught to it (by source)."""

    name: str
    source: str
    digest: str


@cache
def script(name: str) -> Script:
    """The operation of that name; the files are read once."""
    source = resources.files(scripts).joinpath(f"{name}.lua").read_text()
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
