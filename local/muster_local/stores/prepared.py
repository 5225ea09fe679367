"""A store that is ready to be started."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from muster_local.stores.accounts import Account


@dataclass(frozen=True)
class PreparedStore:
    """What is started, where, as whom, and how it is ended."""

    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    account: Account | None = None
    polite_signal: signal.Signals = signal.SIGTERM
    children_apart: bool = False
    """Its children make sessions of their own."""
