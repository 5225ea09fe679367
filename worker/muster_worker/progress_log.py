"""The progress log: one JSON object a line on standard output."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from threading import Lock
from typing import IO, Any

import msgspec

_LABELS = {"MUSTER_JOB": "job", "MUSTER_NAMESPACE": "namespace", "MUSTER_ATTEMPT": "attempt"}


class ProgressLog:
    """Writes events with the member's labels on each, so that the logs of a gang can be merged."""

    def __init__(self, labels: Mapping[str, Any], stream: IO[str] | None = None) -> None:
        self._labels = dict(labels)
        self._stream = sys.stdout if stream is None else stream
        self._lock = Lock()

    def info(self, event: str, **fields: Any) -> None:
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._write("error", event, fields)

    def label(self, **labels: Any) -> None:
        """Every later line carries these as well."""
        self._labels |= labels

    def _write(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = msgspec.json.encode({"time": time, "level": level, "event": event, **self._labels, **fields}).decode()
        with self._lock:
            try:
                self._stream.write(f"{line}\n")
                self._stream.flush()
            except (OSError, ValueError):
                # Whoever read the log has gone. The work is worth more than its log.
                return


def job_labels(environment: Mapping[str, str]) -> dict[str, str]:
    """What the reconciler says about the job that this process belongs to."""
    return {label: environment[name] for name, label in _LABELS.items() if environment.get(name)}
