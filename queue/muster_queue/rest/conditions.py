"""Conditional requests and idempotency keys: what clients say about requests that they may have sent before."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

import msgspec

from muster_queue.rest.job_types import JobRequest
from muster_queue.rest.problems import Kind, ProblemError
from muster_queue.rest.service import IdempotencyKey
from muster_queue.rest.wire import Scope, text_header

_KEY: Final = re.compile(r"[!-~]{1,255}")
_ENTITY_TAG: Final = re.compile(r'"([!#-~]*)"')
_LARGEST_VERSION: Final = 2**63 - 1
_CANONICAL: Final = msgspec.json.Encoder(order="sorted")
NEVER: Final = 0
"""A version that no job has: an entity tag that is not one of ours fits nothing."""


def idempotency_key(scope: Scope) -> str | None:
    """The key as it was sent; the quotes of a structured field may be there or not."""
    text = text_header(scope, b"idempotency-key")
    if text is None:
        return None
    key = text[1:-1] if len(text) > 2 and text[0] == text[-1] == '"' else text
    if not _KEY.fullmatch(key):
        raise ProblemError(Kind.MALFORMED, "Idempotency-Key: write 1 to 255 printable ASCII characters without blanks")
    return key


def keyed(key: str, *jobs: tuple[str, JobRequest], part: int | None = None) -> IdempotencyKey:
    """The key with the fingerprint of what was understood: each job, and its namespace even where it named none.

    `part` counts the pieces of a bulk; no key that a client can send has a line break in it, so that a piece cannot be
    mistaken for another request.
    """
    fingerprint = sha256(_CANONICAL.encode(jobs)).digest()
    return IdempotencyKey(key=key if part is None else f"{key}\n{part}", fingerprint=fingerprint)


def expected_version(scope: Scope) -> int | None:
    """What If-Match asks for: None for whichever version is there."""
    text = text_header(scope, b"if-match")
    if text is None or text == "*":
        return None
    tag = _ENTITY_TAG.fullmatch(text)
    if tag is None:
        raise ProblemError(Kind.MALFORMED, "If-Match: write one entity tag as an answer's ETag gave it, or *")
    return _version(tag.group(1))


def is_unchanged(scope: Scope, version: int) -> bool:
    """Whether If-None-Match names this version: then the client has it already."""
    text = text_header(scope, b"if-none-match")
    if text is None:
        return False
    tags = _ENTITY_TAG.findall(text)
    return text == "*" or str(version) in tags


def _version(text: str) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) < 20 and str(int(text)) == text
    return int(text) if is_number and int(text) <= _LARGEST_VERSION else NEVER
