"""From the job's configuration and the command line to options; everything wrong is named at once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar, get_args

import msgspec
from msgspec.structs import FieldInfo

from muster_worker.errors import RefusedError

CONFIGURATION = "MUSTER_CONFIG"

Options = TypeVar("Options", bound=msgspec.Struct)


def read_options(kind: type[Options], environment: Mapping[str, str], given: Mapping[str, str]) -> Options:
    """The command line wins over MUSTER_CONFIG, and that over the defaults; `given` holds texts as typed."""
    written = _configuration(environment.get(CONFIGURATION, ""))
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    problems = [_unknown(name, list(fields)) for name in written if name not in fields]
    values: dict[str, Any] = {}
    for name, field in fields.items():
        try:
            if name in given:
                values[name] = msgspec.convert(given[name], field.type, strict=False)
            elif name in written:
                values[name] = msgspec.convert(written[name], field.type)
        except msgspec.ValidationError as error:
            problems.append(_refusal(field, given.get(name, written.get(name)), error))
    if problems:
        raise RefusedError("; ".join(problems))
    return kind(**values)


def help_for(field: FieldInfo) -> str:
    """What the option means and its default, for --help."""
    meant = next((part.description for part in get_args(field.type) if isinstance(part, msgspec.Meta)), None)
    default = f"default: {field.default}" if field.default != "" else "default: none"
    return f"{meant} ({default})" if meant else default


def _configuration(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError) as error:
        raise RefusedError(f"{CONFIGURATION}: expected a JSON object, got {_shortened(text)}: {error}") from None


def _unknown(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    return f"{_shortened(name)}: no such option; {meant}known are {', '.join(known)}"


def _refusal(field: FieldInfo, value: object, error: msgspec.ValidationError) -> str:
    said = str(error)
    return f"{field.name}: {said[:1].lower()}{said[1:]}; given was {_shortened(repr(value))}{_accepted(field)}"


def _accepted(field: FieldInfo) -> str:
    """All words, or all bounds of a number: the error names at most the first bound that is broken."""
    kind, *described = get_args(field.type) or (field.type,)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f", accepted are {', '.join(str(member.value) for member in kind)}"
    for part in described:
        if isinstance(part, msgspec.Meta):
            signs = {">=": part.ge, ">": part.gt, "<=": part.le, "<": part.lt}
            bounds = [f"{sign} {bound}" for sign, bound in signs.items() if bound is not None]
            if bounds:
                return f", accepted is {' and '.join(bounds)}"
    return ""


def _shortened(text: str, most: int = 80) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
