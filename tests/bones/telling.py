"""Says what a test measured; pytest shows it with -s, and for failures always."""

from __future__ import annotations

import sys


def tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
