"""Decoding against a struct with all errors at once: msgspec itself stops at the first."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import Any, Final, TypeVar

import msgspec
from msgspec import inspect

from muster_api.field_errors import FieldError, quoted

T = TypeVar("T", bound=msgspec.Struct)
_WORDS: Final = {
    inspect.StrType: "text",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.BoolType: "true or false",
    inspect.VarTupleType: "a list",
    inspect.DictType: "a map",
    inspect.StructType: "an object",
    inspect.DateTimeType: "a time with its zone",
}
MOST_ERRORS: Final = 1_000
"""More are not looked for: nobody reads them, and a large body could be nothing but errors."""
_DESCRIBED: Final = (inspect.StrType, inspect.DateTimeType)
"""Of these a description says better than the type what would be accepted."""


def decode_shape(raw: bytes | msgspec.Raw, kind: type[T]) -> tuple[T | None, list[FieldError]]:
    """The object, or every place where it has another form than it should."""
    try:
        return msgspec.json.decode(raw, type=kind), []
    except (ValueError, RecursionError):
        return None, _all_errors(raw, kind)


def _all_errors(raw: bytes | msgspec.Raw, kind: type[msgspec.Struct]) -> list[FieldError]:
    try:
        value = msgspec.json.decode(raw)
        return shape_errors(value, kind) or [FieldError("object", "cannot be read")]
    except (ValueError, RecursionError) as error:
        return [FieldError("object", f"is no JSON that can be read: {error}")]


def shape_errors(value: Any, kind: type[msgspec.Struct]) -> list[FieldError]:
    """The first thousand places where decoded JSON differs from a struct, its fields' constraints included."""
    return list(islice(_errors(value, _described(kind), ""), MOST_ERRORS))


@lru_cache
def _described(kind: type[msgspec.Struct]) -> inspect.Type:
    return inspect.type_info(kind)


def _errors(value: Any, kind: inspect.Type, path: str) -> Iterator[FieldError]:
    match kind:
        case inspect.Metadata():
            yield from _described_errors(value, kind, path)
        case inspect.UnionType():
            yield from _union_errors(value, kind, path)
        case inspect.StructType() if isinstance(value, dict):
            yield from _struct_errors(value, kind, path)
        case inspect.VarTupleType() if isinstance(value, list):
            yield from _count_errors(value, kind, path)
            for index, each in enumerate(value[: kind.max_length]):
                yield from _errors(each, kind.item_type, f"{path}[{index}]")
        case inspect.DictType() if isinstance(value, dict):
            yield from _count_errors(value, kind, path)
            for key, each in islice(value.items(), kind.max_length):
                yield from _errors(key, kind.key_type, f"{path}[{key[:80]}]")
                yield from _errors(each, kind.value_type, f"{path}[{key[:80]}]")
        case inspect.AnyType() | inspect.RawType():
            return
        case _ if not _is(value, kind):
            yield _refused(value, _wanted(kind), path)


def _described_errors(value: Any, kind: inspect.Metadata, path: str) -> Iterator[FieldError]:
    """A description says in words what a pattern says in signs."""
    if isinstance(kind.type, _DESCRIBED):
        if not _is(value, kind.type):
            yield _refused(value, _wanted(kind), path)
    else:
        yield from _errors(value, kind.type, path)


def _struct_errors(value: dict[str, Any], kind: inspect.StructType, path: str) -> Iterator[FieldError]:
    for field in kind.fields:
        where = f"{path}.{field.encode_name}" if path else field.encode_name
        if field.encode_name in value:
            yield from _errors(value[field.encode_name], field.type, where)
        elif field.required:
            yield FieldError(where, f"required; write {_wanted(field.type)}")
    if kind.forbid_unknown_fields:
        yield from _unknown_fields(value, kind, path)


def _unknown_fields(value: dict[str, Any], kind: inspect.StructType, path: str) -> Iterator[FieldError]:
    known = [field.encode_name for field in kind.fields]
    for name in value:
        if name not in known:
            where = f"{path}.{name[:80]}" if path else name[:80]
            yield FieldError(where, f"there is no such field; there are {', '.join(known)}")


def _union_errors(value: Any, kind: inspect.UnionType, path: str) -> Iterator[FieldError]:
    choices = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
    if value is None and len(choices) < len(kind.types):
        return
    if len(choices) == 1:
        yield from _errors(value, choices[0], path)
    elif not any(_is(value, each) for each in choices):
        yield _refused(value, " or ".join(_wanted(each) for each in choices), path)


def _count_errors(
    value: list[Any] | dict[str, Any], kind: inspect.VarTupleType | inspect.DictType, path: str
) -> Iterator[FieldError]:
    if kind.max_length is not None and len(value) > kind.max_length:
        yield FieldError(path or "object", f"{len(value)} entries are too many; write at most {kind.max_length}")
    if kind.min_length is not None and len(value) < kind.min_length:
        yield FieldError(path or "object", f"{len(value)} entries are too few; write at least {kind.min_length}")


def _refused(value: Any, wanted: str, path: str) -> FieldError:
    return FieldError(path or "object", f"{quoted(value)} is not accepted; write {wanted}")


def _is(value: Any, kind: inspect.Type) -> bool:
    match kind:
        case inspect.Metadata():
            return _is(value, kind.type)
        case inspect.EnumType():
            return value in [member.value for member in kind.cls]
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool) and _within(value, kind)
        case inspect.FloatType():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return is_number and math.isfinite(value) and _within(value, kind)
        case inspect.StrType():
            return isinstance(value, str) and _fits(value, kind)
        case inspect.DateTimeType():
            return isinstance(value, str) and _is_moment(value)
        case _:
            return False


def _within(value: float, kind: inspect.IntType | inspect.FloatType) -> bool:
    return (kind.ge is None or value >= kind.ge) and (kind.le is None or value <= kind.le)


def _fits(value: str, kind: inspect.StrType) -> bool:
    lowest, highest = kind.min_length or 0, kind.max_length
    if len(value) < lowest or (highest is not None and len(value) > highest):
        return False
    return kind.pattern is None or re.search(kind.pattern, value) is not None


def _is_moment(value: str) -> bool:
    try:
        return msgspec.convert(value, datetime).tzinfo is not None
    except msgspec.ValidationError:
        return False


def _wanted(kind: inspect.Type) -> str:
    match kind:
        case inspect.Metadata():
            said = (kind.extra_json_schema or {}).get("description")
            return str(said) if said and isinstance(kind.type, _DESCRIBED) else _wanted(kind.type)
        case inspect.EnumType():
            return " or ".join(str(member.value) for member in kind.cls)
        case inspect.UnionType():
            return " or ".join(_wanted(each) for each in kind.types if not isinstance(each, inspect.NoneType))
        case inspect.IntType() | inspect.FloatType() if kind.ge is not None and kind.le is not None:
            return f"{_WORDS[type(kind)]} from {kind.ge} to {kind.le}"
        case inspect.StrType() if kind.max_length is not None:
            return f"text of {kind.min_length or 0} to {kind.max_length} characters"
        case _:
            return _WORDS.get(type(kind), "something else")
