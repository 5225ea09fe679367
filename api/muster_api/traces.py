"""The W3C trace context of a job: what a request's `traceparent` says, read once and handed on to its pods."""

from __future__ import annotations

import re
from typing import Final

TRACE_VARIABLE: Final = "TRACEPARENT"
"""In the pods of a job: from it the job's own process goes on with the trace."""

_HEADER: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_VERSION: Final = "00"
_NO_VERSION: Final = "ff"
_LONGEST: Final = 512
_KNOWN_FLAGS: Final = 0b11
"""Sampled, and whether the trace's id is random; the others have no meaning yet and are not handed on."""


def read_traceparent(text: str | None) -> str | None:
    """The context as version 00 writes it; None where there is none, or none that is valid, which is the same.

    A later version is read as far as this one knows it, as https://www.w3.org/TR/trace-context/ asks.
    """
    if text is None or len(text) > _LONGEST:
        return None
    found = _HEADER.fullmatch(text)
    if found is None:
        return None
    version, trace, parent, flags, more = found.groups()
    if version == _NO_VERSION or (version == _VERSION and more is not None):
        return None
    if not trace.strip("0") or not parent.strip("0"):
        return None
    return f"{_VERSION}-{trace}-{parent}-{int(flags, 16) & _KNOWN_FLAGS:02x}"
