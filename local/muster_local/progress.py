"""Telling a person what takes time; plain lines where nobody watches a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from rich.console import Console

Result = TypeVar("Result")


class Progress:
    """Steps of a start or a build, on standard error so that standard output stays for results."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)

    def step(self, title: str, action: Callable[[], Result]) -> Result:
        """Runs one step under a spinner, and says afterwards how long it took."""
        begin = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(title):
                result = action()
        else:
            result = action()
        self._console.print(f"{title}: {time.monotonic() - begin:.1f} s")
        return result

    def note(self, text: str) -> None:
        self._console.print(text)
