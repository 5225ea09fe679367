"""Priority 0 to 100, its words, and the four PriorityClasses that follow from it."""

from __future__ import annotations

from typing import Final

LOWEST: Final = 0
HIGHEST: Final = 100
NORMAL: Final = 50

WORDS: Final[dict[str, int]] = {"low": 20, "normal": NORMAL, "high": 80, "critical": 95}

CLASSES: Final[tuple[tuple[int, str, int], ...]] = (
    (90, "muster-critical", 900_000),
    (60, "muster-interactive", 600_000),
    (30, "muster-batch", 300_000),
    (0, "muster-maintenance", 100_000),
)
"""From which priority, the PriorityClass, and the value that kube-scheduler sorts by; all never preempt."""

CLASS_VALUES: Final[dict[str, int]] = {name: value for _, name, value in CLASSES}
_CLASS_PRIORITIES: Final[dict[str, int]] = {
    "muster-critical": 95,
    "muster-interactive": 75,
    "muster-batch": NORMAL,
    "muster-maintenance": 20,
}


class PriorityError(ValueError):
    """The text is no priority; the message says what would be."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text[:40]!r} is no priority; write a whole number from 0 to 100, or {', '.join(WORDS)}")


def parse_priority(text: str) -> int:
    """Read a whole number from 0 to 100 or one of the words; raises PriorityError."""
    if text in WORDS:
        return WORDS[text]
    if not text.isascii() or not text.isdigit() or len(text) > 3 or int(text) > HIGHEST:
        raise PriorityError(text)
    return int(text)


def class_for(priority: int) -> str:
    """The PriorityClass of a priority from 0 to 100."""
    return next(name for floor, name, _ in CLASSES if priority >= floor)


def priority_of_class(name: str) -> int | None:
    """The priority that one of our own classes stands for; None for any other class."""
    return _CLASS_PRIORITIES.get(name)
