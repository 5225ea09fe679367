"""What no schema can say to schemathesis: how a header is quoted, and that a page is a word of the server's."""

from __future__ import annotations

import os
from typing import Any

import schemathesis
from schemathesis import GenerationMode

from muster_queue.rest.pool_service import LONGEST_WAIT

SHORT_WAIT = 0.1


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """The log of a job that never runs has no end to wait for where it is followed, but for a fake's (LOGS_END).

    Nobody waits for jobs of a pool that has none for as long as a worker would. A valid request that is made up has no
    page; and where it has an entity tag, the quotes must not get lost.
    """
    if "LOGS_END" not in os.environ and case.query and str(case.query.get("follow")).lower() == "true":
        case.query.pop("follow")
    wait = case.body.get("wait_seconds") if isinstance(case.body, dict) else None
    if type(wait) in (int, float) and SHORT_WAIT < wait <= LONGEST_WAIT:
        case.body["wait_seconds"] = SHORT_WAIT
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    if case.query:
        case.query.pop("page", None)
    if case.headers and '"' not in case.headers.get("If-Match", '"'):
        case.headers["If-Match"] = '"1"'
