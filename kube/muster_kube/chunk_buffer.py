"""A bounded buffer between the socket and the decoder, so that a slow consumer never slows the reading down."""

from __future__ import annotations

import asyncio
from collections import deque

Chunk = tuple[bytes, float]


class BufferOverflowError(Exception):
    """The consumer has fallen behind by more than the buffer holds."""


class ChunkBuffer:
    """Bytes read and not yet processed, one writer and one reader on the same loop."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks: deque[Chunk] = deque()
        self._size = 0
        self._changed = asyncio.Event()
        self._end: BaseException | None = None
        self._closed = False

    def put(self, chunk: bytes, arrived: float) -> None:
        """Never waits; raises BufferOverflowError beyond the limit."""
        if self._is_full(chunk):
            raise BufferOverflowError
        self._append(chunk, arrived)

    async def put_patiently(self, chunk: bytes, arrived: float) -> None:
        """Waits for room: for the initial events, whose number has no bound and which can be slowed without loss."""
        while self._is_full(chunk):
            self._changed.clear()
            await self._changed.wait()
        self._append(chunk, arrived)

    def close(self, error: BaseException | None = None) -> None:
        """Nothing more will come: the reader gets what is left, then the error or the end."""
        self._closed = True
        self._end = error
        self._changed.set()

    async def get(self) -> Chunk | None:
        """The next bytes and when they arrived; None at a clean end."""
        while not self._chunks:
            if self._closed:
                if self._end is not None:
                    raise self._end
                return None
            self._changed.clear()
            await self._changed.wait()
        chunk = self._chunks.popleft()
        self._size -= len(chunk[0])
        self._changed.set()
        return chunk

    def _is_full(self, chunk: bytes) -> bool:
        # A single chunk always fits, however small the limit: the reader could otherwise never go on.
        return bool(self._chunks) and self._size + len(chunk) > self._limit

    def _append(self, chunk: bytes, arrived: float) -> None:
        self._chunks.append((chunk, arrived))
        self._size += len(chunk)
        self._changed.set()
