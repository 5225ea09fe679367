"""HTTP for the services: uvicorn in the caller's loop, set up for kube-scheduler and the API server as clients."""

from __future__ import annotations

from typing import Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

KEEP_ALIVE_SECONDS: Final = 120
"""Longer than the 90 s after which Go's client drops an idle connection: only the client may close one."""

HEADER_BYTES: Final = 64 << 10


class _BoundedHeaders(HttpToolsProtocol):
    """The parser itself takes headers without end."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._header_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > HEADER_BYTES:
            raise httptools.HttpParserError("headers too large")
