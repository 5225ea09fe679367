"""What a container prints, kept as container runtimes keep it: a time, the stream and the text on each line."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

LONGEST_LINE = 16 << 10


def timestamp() -> str:
    """Now, in UTC and with the precision that log readers expect."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


class LogFile:
    """One file that is set aside as `.1` when it has grown too large."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._descriptor = self._open()
        self._size = os.fstat(self._descriptor).st_size

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes) -> None:
        os.write(self._descriptor, data)
        self._size += len(data)
        if self._size >= self._limit:
            os.close(self._descriptor)
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._descriptor, self._size = self._open(), 0


class Stream:
    """Cuts one output into lines; "F" marks a whole line, "P" the part of one."""

    def __init__(self, name: str, log: LogFile) -> None:
        self._name = name
        self._log = log
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        *lines, rest = (self._rest + chunk).split(b"\n")
        entries = [self._entry(b"F", line) for line in lines]
        while len(rest) >= LONGEST_LINE:
            entries.append(self._entry(b"P", rest[:LONGEST_LINE]))
            rest = rest[LONGEST_LINE:]
        self._rest = rest
        if entries:
            self._log.write(b"".join(entries))

    def close(self) -> None:
        """Writes what the container left without a line end."""
        if self._rest:
            self._log.write(self._entry(b"P", self._rest))
            self._rest = b""

    def _entry(self, tag: bytes, text: bytes) -> bytes:
        return b"%s %s %s %s\n" % (timestamp().encode(), self._name.encode(), tag, text)
