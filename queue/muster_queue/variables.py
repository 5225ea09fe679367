"""Settings from the environment: what they are called there, and what is wrong with one in a line that names it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsError

S = TypeVar("S", bound=BaseSettings)


class VariablesError(Exception):
    """Each problem is one line, and quotes no value: it may be a password."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def read_settings(kind: type[S]) -> S:
    """Reads the environment; VariablesError says what is wrong there."""
    try:
        return kind()
    except ValidationError as error:
        problems = [_line(kind, each) for each in error.errors(include_url=False, include_input=False)]
        raise VariablesError(*problems) from None
    except SettingsError as error:
        raise VariablesError(*_not_json(kind, str(error))) from None


def variables_of(*kinds: type[BaseSettings]) -> list[str]:
    """What can be set, each once."""
    return list(dict.fromkeys(_variable(kind, name) for kind in kinds for name in kind.model_fields))


def _variable(kind: type[BaseSettings], field: str) -> str:
    return f"{kind.model_config['env_prefix']}{field}".upper()


def _line(kind: type[BaseSettings], problem: ErrorDetails) -> str:
    field, *inside = (str(part) for part in problem["loc"])
    place = "".join(f"[{part}]" for part in inside)
    return f"{_variable(kind, field)}{place}: {problem['msg'].removeprefix('Value error, ')}"


def _not_json(kind: type[BaseSettings], told: str) -> Iterator[str]:
    """The library names the field only within its sentence."""
    named = [field for field in kind.model_fields if f'"{field}"' in told]
    return (f"{_variable(kind, field)}: this is not JSON" for field in named) if named else iter([told])
