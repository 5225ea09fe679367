"""A TCP proxy on loopback that hurts what passes through it, the same way again for the same seed.

In a test:  async with FaultProxy(host, port, seed=7) as proxy:  proxy.cut(); proxy.faults = Faults(latency=0.1) ...
By hand:    python -m bones.tcp_fault_proxy 127.0.0.1:6443 --listen 6444 --latency 0.1 --drop 0.01
            and then commands on stdin: `cut`, `refuse on|off`, `blackhole up|down|both|off`,
`latency 0.5`, `drop 0.1`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from dataclasses import dataclass, replace
from enum import StrEnum
from types import TracebackType

CHUNK = 64 << 10


class Direction(StrEnum):
    """Seen from the client: what it sends goes up, what it is answered comes down."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What happens to every connection while it is in force; seconds, bytes and probabilities."""

    latency: float = 0.0
    jitter: float = 0.0
    bytes_per_second: float = 0.0
    """0: unlimited. For each direction of each connection."""
    drop: float = 0.0
    """Probability, for each chunk, that the connection is reset in place of passing it on."""
    cut_after: tuple[int, int] | None = None
    """Reset a connection after a number of downward bytes, drawn from this range for each one."""
    blackhole: frozenset[Direction] = frozenset()
    """Bytes in these directions vanish, while the connection stays open."""
    refuse: bool = False
    """New connections are reset at once."""


@dataclass(slots=True, eq=False)
class _Link:
    """One client's connection and its twin to the server."""

    random: random.Random
    writers: list[asyncio.StreamWriter]
    down_bytes: int = 0
    cut_at: int | None = None
    is_cut: bool = False

    def reset(self) -> None:
        """Ends both sides with RST: no orderly goodbye, as when a machine or a load balancer dies."""
        self.is_cut = True
        for writer in self.writers:
            writer.transport.abort()


class FaultProxy:
    """Listens on loopback and passes on to one server; `faults` may be replaced at any moment."""

    def __init__(self, host: str, port: int, *, seed: int = 0, listen: int = 0, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.port = listen
        self.connections = 0
        self.cuts = 0
        self._target = (host, port)
        self._random = random.Random(seed)
        self._links: set[_Link] = set()
        self._accepted: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> FaultProxy:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", self.port, limit=CHUNK)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in self._accepted:
            task.cancel()
        await asyncio.gather(*self._accepted, return_exceptions=True)

    def cut(self) -> int:
        """Resets every open connection; returns how many there were."""
        links = list(self._links)
        for link in links:
            self._reset(link)
        return len(links)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._accept(reader, writer))
        self._accepted.add(task)
        task.add_done_callback(self._accepted.discard)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        link = _Link(random.Random(self._random.random()), [writer])
        if self.faults.cut_after is not None:
            link.cut_at = link.random.randint(*self.faults.cut_after)
        try:
            if self.faults.refuse:
                raise ConnectionRefusedError
            await self._connect(link, reader, writer)
        except (OSError, asyncio.CancelledError):
            link.reset()
        finally:
            for open_writer in link.writers:
                open_writer.close()

    async def _connect(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self._target, limit=CHUNK)
        link.writers.append(up_writer)
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(link, Direction.UP, reader, up_writer))
                pumps.create_task(self._pump(link, Direction.DOWN, up_reader, writer))
        finally:
            self._links.discard(link)

    async def _pump(
        self, link: _Link, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await reader.read(CHUNK):
                data = await self._suffer(link, direction, data)
                if data:
                    writer.write(data)
                    await writer.drain()
                if link.cut_at is not None and link.down_bytes >= link.cut_at:
                    self._reset(link)
                    return
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            link.reset()

    async def _suffer(self, link: _Link, direction: Direction, data: bytes) -> bytes:
        """What is left of the data, after the delay it deserves."""
        faults = self.faults
        delay = faults.latency + faults.jitter * link.random.random()
        if faults.bytes_per_second:
            delay += len(data) / faults.bytes_per_second
        if delay:
            await asyncio.sleep(delay)
        if direction in self.faults.blackhole:
            return b""
        if faults.drop and link.random.random() < faults.drop:
            self._reset(link)
            raise ConnectionResetError
        if direction is Direction.DOWN and link.cut_at is not None:
            data = data[: link.cut_at - link.down_bytes]
        if direction is Direction.DOWN:
            link.down_bytes += len(data)
        return data

    def _reset(self, link: _Link) -> None:
        if not link.is_cut:
            self.cuts += 1
            link.reset()


async def main(arguments: argparse.Namespace) -> None:
    """Serves until stdin ends; each line is a command."""
    host, _, port = arguments.target.rpartition(":")
    faults = Faults(
        latency=arguments.latency,
        jitter=arguments.jitter,
        bytes_per_second=arguments.bytes_per_second,
        drop=arguments.drop,
        cut_after=tuple(arguments.cut_after) if arguments.cut_after else None,
    )
    async with FaultProxy(host, int(port), seed=arguments.seed, listen=arguments.listen, faults=faults) as proxy:
        say(str(proxy.port))
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := (await lines.readline()).decode().split():
            say(command(proxy, *line))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def command(proxy: FaultProxy, verb: str, *values: str) -> str:
    """Carries out one line of the command language; answers with what is in force then."""
    match (verb, *values):
        case ("cut",):
            return f"cut {proxy.cut()}"
        case ("refuse", ("on" | "off") as state):
            proxy.faults = replace(proxy.faults, refuse=state == "on")
        case ("blackhole", ("up" | "down" | "both" | "off") as where):
            proxy.faults = replace(proxy.faults, blackhole=BLACKHOLES[where])
        case ("latency", seconds):
            proxy.faults = replace(proxy.faults, latency=float(seconds))
        case ("drop", probability):
            proxy.faults = replace(proxy.faults, drop=float(probability))
        case _:
            return "unknown: " + " ".join((verb, *values))
    return str(proxy.faults)


BLACKHOLES: dict[str, frozenset[Direction]] = {
    "up": frozenset({Direction.UP}),
    "down": frozenset({Direction.DOWN}),
    "both": frozenset(Direction),
    "off": frozenset(),
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", help="host:port to pass on to")
    parser.add_argument("--listen", type=int, default=0, help="port on loopback; 0 takes a free one and prints it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds added to each chunk")
    parser.add_argument("--jitter", type=float, default=0.0, help="up to so many seconds more")
    parser.add_argument("--bytes-per-second", type=float, default=0.0)
    parser.add_argument("--drop", type=float, default=0.0, help="probability of a reset, for each chunk")
    parser.add_argument("--cut-after", type=int, nargs=2, metavar=("LEAST", "MOST"), help="bytes down before a reset")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(parse_arguments()))
