"""What is wrong with an object: where, and what would be accepted. Always all of it, never only the first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

_LONGEST_MESSAGE: Final = 4000
_LONGEST_VALUE: Final = 40


class FieldError(msgspec.Struct, frozen=True, order=True):
    """One field, by its path, and the sentence that follows it."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def describe(errors: Sequence[FieldError]) -> str:
    """All errors as one line for a person; kubectl prints it as it is."""
    text = "; ".join(str(error) for error in errors)
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[: _LONGEST_MESSAGE - 3]}..."


def newly_wrong(errors: Sequence[FieldError], before: Collection[FieldError]) -> list[FieldError]:
    """Without what was wrong already: an update must not fail for a field that it leaves alone."""
    return [error for error in errors if error not in before]


def quoted(value: object) -> str:
    """A value for a message, shortened: it came from outside."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
