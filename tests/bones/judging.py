"""Runs the judge as its own process beside a test and holds the test to its verdict."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

START_SECONDS = 20
VERDICT_SECONDS = 90
TESTS = Path(__file__).resolve().parent.parent


class JudgeProcess:
    """A judge that watches from `start` to `verdict`."""

    def __init__(self, kubeconfig: Path, folder: Path, *, repair_seconds: float = 60.0) -> None:
        self._out = folder / "history.jsonl"
        self._errors = folder / "judge.log"
        self._command = [
            *(sys.executable, "-m", "judge", "--kubeconfig", str(kubeconfig), "--out", str(self._out)),
            *("--repair-seconds", str(repair_seconds)),
        ]
        self._process: subprocess.Popen[str] | None = None
        self.report: dict[str, Any] = {}

    def start(self) -> JudgeProcess:
        """Returns once the judge sees everything that is there."""
        environment = {**os.environ, "PYTHONPATH": str(TESTS)}
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                self._command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        line = self._first_line(self._process)
        assert line == "watching", f"the judge did not start: {line!r} {self._errors.read_text()}"
        return self

    def verdict(self) -> dict[str, Any]:
        """End the watching at a state of rest; fails on any violation and on lost events."""
        process, self._process = self._process, None
        assert process is not None, "the judge is not watching"
        process.send_signal(signal.SIGTERM)
        try:
            output, _ = process.communicate(timeout=VERDICT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        assert process.returncode == 0, (
            f"the judge ended with {process.returncode}:\n{output}{self._errors.read_text()}"
        )
        self.report = json.loads(self._out.with_suffix(".report.json").read_text())
        return self.report

    def abandon(self) -> None:
        """End it without a verdict, because the test failed already."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> JudgeProcess:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        if error is not None:
            self.abandon()
        else:
            self.verdict()

    def _first_line(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(START_SECONDS):
                process.kill()
                process.communicate()
                return "nothing"
        return process.stdout.readline().strip()
