"""One open watch: a task reads the socket as fast as bytes arrive, the consumer takes events at its own pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import structlog

from muster_kube.chunk_buffer import BufferOverflowError, ChunkBuffer
from muster_kube.clock import Clock
from muster_kube.errors import KubeError
from muster_kube.pacing import Pacer
from muster_kube.session import ApiSession, ByteStream
from muster_kube.wire import LineSplitter, TooDeepError, WatchEvent, decode_event

log = structlog.get_logger(__name__)

BUFFER_BYTES: Final = 32 << 20


class Watch:
    """The events of one connection.

    While `is_patient` the server is slowed down when the buffer is full; otherwise a full buffer ends the watch after
    what it holds has been consumed, for a server drops watchers that read too slowly.
    """

    def __init__(
        self, buffer: ChunkBuffer, clock: Clock, on_processed: Callable[[float], None], *, is_patient: bool
    ) -> None:
        self.is_patient = is_patient
        self._buffer = buffer
        self._clock = clock
        self._on_processed = on_processed

    async def events(self) -> AsyncIterator[WatchEvent]:
        """Ends when the server ends the watch; raises what the connection died of."""
        splitter = LineSplitter()
        pacer = Pacer()
        while (chunk := await self._buffer.get()) is not None:
            data, arrived = chunk
            for line in splitter.feed(data):
                try:
                    event = decode_event(line)
                except TooDeepError as error:
                    # Not even its name can be told; the position of the watch moves on with the next event.
                    log.error("event left out", error=str(error), size=len(line))
                    continue
                yield event
                if pacer.is_due():
                    await pacer.rest()
            self._on_processed(arrived)

    async def read(self, stream: ByteStream) -> None:
        """Moves bytes from the socket to the buffer until either ends."""
        try:
            while data := await stream.read():
                arrived = self._clock.monotonic()
                if self.is_patient:
                    await self._buffer.put_patiently(data, arrived)
                else:
                    self._buffer.put(data, arrived)
        except (KubeError, BufferOverflowError) as error:
            self._buffer.close(error)
        else:
            self._buffer.close()


@asynccontextmanager
async def open_watch(
    session: ApiSession,
    path: str,
    params: Mapping[str, str],
    *,
    idle_timeout: float,
    buffer_bytes: int,
    clock: Clock,
    on_processed: Callable[[float], None],
    is_patient: bool,
) -> AsyncIterator[Watch]:
    """Connects and reads in the background until left; `on_processed` hears when consumed bytes had arrived."""
    async with session.stream(path, params, idle_timeout=idle_timeout) as stream:
        watch = Watch(ChunkBuffer(buffer_bytes), clock, on_processed, is_patient=is_patient)
        reading = asyncio.create_task(watch.read(stream), name=f"read {path}")
        try:
            yield watch
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
