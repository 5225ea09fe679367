"""What stands in a gang's way, in one reason and one sentence."""

from __future__ import annotations

from dataclasses import dataclass

from muster_api.reasons import Reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """A reason, its message, and whether time alone will not change it."""

    reason: Reason
    message: str
    permanent: bool = False
