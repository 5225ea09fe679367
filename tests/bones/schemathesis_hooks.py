"""What no schema can say to schemathesis: two values that only the server, or only the client, can make up."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import schemathesis
from schemathesis import GenerationMode


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A page is the server's word, so that a valid request made up has none; a key is new for each new request.

    The quotes of an entity tag get lost where schemathesis makes the shortest one.
    """
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    if case.query:
        case.query.pop("page", None)
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = uuid4().hex
    if case.headers and "If-Match" in case.headers and '"' not in case.headers["If-Match"]:
        case.headers["If-Match"] = '"1"'
