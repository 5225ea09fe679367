"""What every kind of job is given to work with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from muster_worker.place import Place
from muster_worker.progress_log import ProgressLog
from muster_worker.termination import Termination


@dataclass(frozen=True, slots=True)
class Workplace:
    """A member's surroundings, read once at the start."""

    place: Place
    environment: Mapping[str, str]
    log: ProgressLog
    termination: Termination
