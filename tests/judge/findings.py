"""What the rules complain of."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Violation:
    rule: str
    about: str
    version: int
    message: str


@dataclass
class Findings:
    """Complaints in the order of the history."""

    violations: list[Violation] = field(default_factory=list)

    def add(self, rule: str, about: str, version: int, message: str) -> None:
        self.violations.append(Violation(rule, about, version, message))
