"""Streams of the api, read beside a test while they are written."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from bones.rest_api import JOBS, RestApi

PATIENCE_SECONDS = 120.0

Event = dict[str, Any]


class FollowedStream(threading.Thread):
    """Its lines, until the api ends it."""

    def __init__(self, api: RestApi, path: str, **headers: str) -> None:
        super().__init__(name=path, daemon=True)
        self._api, self._path, self._headers = api, path, headers
        self._came = threading.Condition()
        self._over = False
        self.lines: list[str] = []
        self.start()

    @classmethod
    def of_events(cls, api: RestApi, job_id: str) -> FollowedStream:
        """Server-sent events."""
        return cls(api, f"{JOBS}{job_id}/events", Accept="text/event-stream")

    @classmethod
    def of_logs(cls, api: RestApi, job_id: str, member: int = 0) -> FollowedStream:
        return cls(api, f"{JOBS}{job_id}/logs?follow=true&member={member}")

    def run(self) -> None:
        try:
            for line in self._api.lines(self._path, **self._headers):
                self._note(line)
        finally:
            with self._came:
                self._over = True
                self._came.notify_all()

    def changes(self) -> list[Event]:
        """What server-sent events have told."""
        return [json.loads(line.removeprefix("data: ")) for line in list(self.lines) if line.startswith('data: {"')]

    def said(self, name: str) -> list[Event]:
        """What a worker has logged under this name."""
        found = [json.loads(line) for line in list(self.lines) if line.startswith('{"time"')]
        return [event for event in found if event["event"] == name]

    def wait(self, holds: Callable[[], Any], what: str) -> None:
        """Looks again whenever a line has come; after the last one it has to hold."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self._came:
            while not holds():
                left = deadline - time.monotonic()
                if self._over or not self._came.wait(left):
                    raise AssertionError(f"no {what} in {self._path}: {self.lines}")

    def wait_end(self) -> None:
        self.join(PATIENCE_SECONDS)
        assert not self.is_alive(), f"{self._path} does not end: {self.lines[-20:]}"

    def _note(self, line: str) -> None:
        with self._came:
            self.lines.append(line)
            self._came.notify_all()
