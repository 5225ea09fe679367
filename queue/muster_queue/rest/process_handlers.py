"""What every Muster process answers about itself, and the api's own description."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from muster_kube.serve import JSON_TYPE, TEXT_TYPE, AsgiApp, Receive, Send
from muster_queue.rest.docs_page import CONTENT_POLICY, page
from muster_queue.rest.openapi import describe
from muster_queue.rest.operations import Operation
from muster_queue.rest.wire import Scope, answer

_HTML: Final = b"text/html; charset=utf-8"
_POLICY: Final = ((b"content-security-policy", CONTENT_POLICY.encode()),)
_DISTRIBUTION: Final = "muster-scheduler"


def process_handlers(
    unready: Callable[[], Sequence[str]], registry: CollectorRegistry, operations: Sequence[Operation]
) -> Mapping[str, AsgiApp]:
    """By the names of their operations; both documents are made once."""
    document = describe(operations, _version())

    async def readyz(scope: Scope, receive: Receive, send: Send) -> None:
        missing = unready()
        await answer(send, 503 if missing else 200, "\n".join(missing).encode() or b"ok", TEXT_TYPE)

    async def metrics(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 200, generate_latest(registry), CONTENT_TYPE_LATEST.encode())

    return {
        "openapi": _constant(msgspec.json.encode(document), JSON_TYPE),
        "docs": _constant(page(document), _HTML, _POLICY),
        "healthz": _constant(b"ok", TEXT_TYPE),
        "readyz": readyz,
        "metrics": metrics,
    }


def _constant(body: bytes, kind: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()) -> AsgiApp:
    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 200, body, kind, headers)

    return handler


def _version() -> str:
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return "unreleased"
