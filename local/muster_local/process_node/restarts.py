"""When a container that has ended is started again: a kubelet's rules and its back-off; pure."""

from __future__ import annotations

from dataclasses import dataclass

SUCCESS = 0


@dataclass(frozen=True, slots=True)
class BackoffRule:
    """Durations in seconds; tests make them short."""

    first: float = 10.0
    longest: float = 300.0

    @property
    def forgiven_after(self) -> float:
        """A container that ran this long starts with a clean slate."""
        return 2 * self.longest

    def scaled(self, factor: float) -> BackoffRule:
        return BackoffRule(self.first * factor, self.longest * factor)


def may_restart(policy: str, exit_code: int) -> bool:
    """Whether the restart policy wants it to run again."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != SUCCESS)


def restart_delay(crashes: int, rule: BackoffRule) -> float:
    """Seconds from the end of a container to its next start, after `crashes` restarts: at once, 10, 20, 40 ... 300."""
    if crashes <= 0:
        return 0.0
    return min(rule.longest, rule.first * 2.0 ** min(crashes - 1, 32))


def counted_crashes(crashes: int, ran_seconds: float, rule: BackoffRule) -> int:
    """The restarts in a row that count against a container whose last run took this long."""
    return 0 if ran_seconds >= rule.forgiven_after else crashes
