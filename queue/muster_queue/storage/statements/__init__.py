"""The SQL of the repositories, one file for each statement."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def statement(name: str) -> bytes:
    """The text of a statement; always the same bytes, so that the server prepares it once."""
    return (resources.files(__name__) / f"{name}.sql").read_bytes()
