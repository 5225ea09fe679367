"""Reads what containers have printed, the way `kubectl logs` asks for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

_POLL_SECONDS: Final = 0.1
_CHUNK: Final = 1 << 16


class LogQueryError(ValueError):
    """A parameter of the request is not what it should be."""


@dataclass(frozen=True, slots=True)
class LogQuery:
    """What of the output is wanted."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail: int | None = None
    since: datetime | None = None
    limit_bytes: int | None = None

    @classmethod
    def read(cls, parameters: Mapping[str, str], now: datetime) -> LogQuery:
        """From the query parameters of the kubelet API."""
        try:
            since = datetime.fromisoformat(parameters["sinceTime"]) if "sinceTime" in parameters else None
            if "sinceSeconds" in parameters:
                since = now - timedelta(seconds=int(parameters["sinceSeconds"]))
            return cls(
                follow=parameters.get("follow") == "true",
                previous=parameters.get("previous") == "true",
                timestamps=parameters.get("timestamps") == "true",
                tail=int(parameters["tailLines"]) if "tailLines" in parameters else None,
                since=since,
                limit_bytes=int(parameters["limitBytes"]) if "limitBytes" in parameters else None,
            )
        except ValueError as error:
            raise LogQueryError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a log file."""

    time: str
    is_whole: bool
    text: bytes

    def render(self, *, timestamps: bool) -> bytes:
        head = f"{self.time} ".encode() if timestamps else b""
        return head + self.text + (b"\n" if self.is_whole else b"")

    @property
    def moment(self) -> datetime:
        return datetime.strptime(self.time[:26], "%Y-%m-%dT%H:%M:%S.%f").replace(tzinfo=UTC)


def parse(line: bytes) -> Entry | None:
    """An entry, or nothing for a line that a crash has cut off."""
    parts = line.split(b" ", 3)
    if len(parts) != 4 or parts[2] not in (b"F", b"P"):
        return None
    return Entry(parts[0].decode(errors="replace"), parts[2] == b"F", parts[3])


def select_entries(entries: Iterable[Entry], query: LogQuery) -> list[Entry]:
    """Those that are new enough, and of them the last lines; parts of one line count as one."""
    chosen = [entry for entry in entries if query.since is None or entry.moment >= query.since]
    if query.tail is None:
        return chosen
    if query.tail <= 0:
        return []
    lines = 0
    for position in range(len(chosen) - 1, -1, -1):
        begins = position == 0 or chosen[position - 1].is_whole
        lines += begins
        if begins and lines == query.tail:
            return chosen[position:]
    return chosen


class _Tail:
    """Reads a file on from where it was, over its being set aside for a new one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._rest = b""

    def close(self) -> None:
        os.close(self._descriptor)

    def read(self) -> Iterator[Entry]:
        """Everything that has been added since the last time."""
        while True:
            yield from self._read_open_file()
            if not self._moved_on():
                return

    def _read_open_file(self) -> Iterator[Entry]:
        while chunk := os.read(self._descriptor, _CHUNK):
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            yield from (entry for entry in map(parse, lines) if entry is not None)

    def _moved_on(self) -> bool:
        try:
            current = self._path.stat()
        except FileNotFoundError:
            return False
        if current.st_ino == os.fstat(self._descriptor).st_ino:
            return False
        os.close(self._descriptor)
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        self._rest = b""
        return True


async def read_log(path: Path, query: LogQuery, is_over: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The output asked for; with `follow` until `is_over`."""
    older = _entries_of(path.with_name(f"{path.name}.1"))
    tail = _Tail(path)
    try:
        chosen = select_entries([*older, *tail.read()], query)
        for entry in chosen:
            yield entry.render(timestamps=query.timestamps)
        while query.follow:
            # Asked before reading: what is written until the end is read as well.
            ends = is_over()
            for entry in tail.read():
                yield entry.render(timestamps=query.timestamps)
            if ends:
                return
            await asyncio.sleep(_POLL_SECONDS)
    finally:
        tail.close()


def _entries_of(path: Path) -> list[Entry]:
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return [entry for entry in map(parse, lines) if entry is not None]
