"""What no schema can say to schemathesis: how a header is quoted, and that a page is a word of the server's."""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis import GenerationMode


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A log that is followed has no end to wait for. A valid request that is made up has no page; and where it has an
    entity tag, the quotes must not get lost."""
    if case.query and str(case.query.get("follow")).lower() == "true":
        case.query.pop("follow")
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    if case.query:
        case.query.pop("page", None)
    if case.headers and '"' not in case.headers.get("If-Match", '"'):
        case.headers["If-Match"] = '"1"'
