"""Decoding against a struct with all errors at once: msgspec itself stops at the first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec
from msgspec import inspect

from muster_webhook.field_errors import FieldError, quoted

T = TypeVar("T", bound=msgspec.Struct)
_WORDS: Final = {
    inspect.StrType: "text",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.BoolType: "true or false",
    inspect.VarTupleType: "a list",
    inspect.DictType: "a map",
    inspect.StructType: "an object",
}


def decode_shape(raw: bytes | msgspec.Raw, kind: type[T]) -> tuple[T | None, list[FieldError]]:
    """The object, or every place where it has another form than it should."""
    try:
        return msgspec.json.decode(raw, type=kind), []
    except (ValueError, RecursionError):
        return None, _all_errors(raw, kind)


def _all_errors(raw: bytes | msgspec.Raw, kind: type[msgspec.Struct]) -> list[FieldError]:
    try:
        value = msgspec.json.decode(raw)
        return list(_errors(value, _described(kind), "")) or [FieldError("object", "cannot be read")]
    except (ValueError, RecursionError) as error:
        return [FieldError("object", f"is no JSON that can be read: {error}")]


@lru_cache
def _described(kind: type[msgspec.Struct]) -> inspect.Type:
    return inspect.type_info(kind)


def _errors(value: Any, kind: inspect.Type, path: str) -> Iterator[FieldError]:
    match kind:
        case inspect.UnionType():
            yield from _union_errors(value, kind, path)
        case inspect.StructType() if isinstance(value, dict):
            yield from _struct_errors(value, kind, path)
        case inspect.VarTupleType() if isinstance(value, list):
            for index, each in enumerate(value):
                yield from _errors(each, kind.item_type, f"{path}[{index}]")
        case inspect.DictType() if isinstance(value, dict):
            for key, each in value.items():
                yield from _errors(each, kind.value_type, f"{path}[{key[:80]}]")
        case inspect.AnyType():
            return
        case _ if not _is(value, kind):
            yield FieldError(path or "object", f"{quoted(value)} is not accepted; write {_wanted(kind)}")


def _struct_errors(value: dict[str, Any], kind: inspect.StructType, path: str) -> Iterator[FieldError]:
    for field in kind.fields:
        where = f"{path}.{field.encode_name}" if path else field.encode_name
        if field.encode_name in value:
            yield from _errors(value[field.encode_name], field.type, where)
        elif field.required:
            yield FieldError(where, f"required; write {_wanted(field.type)}")


def _union_errors(value: Any, kind: inspect.UnionType, path: str) -> Iterator[FieldError]:
    choices = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
    if value is None and len(choices) < len(kind.types):
        return
    if len(choices) == 1:
        yield from _errors(value, choices[0], path)
    elif not any(_is(value, each) for each in choices):
        wanted = " or ".join(_wanted(each) for each in choices)
        yield FieldError(path, f"{quoted(value)} is not accepted; write {wanted}")


def _is(value: Any, kind: inspect.Type) -> bool:
    match kind:
        case inspect.EnumType():
            return value in [member.value for member in kind.cls]
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool)
        case inspect.FloatType():
            return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        case inspect.StrType():
            return isinstance(value, str)
        case _:
            return False


def _wanted(kind: inspect.Type) -> str:
    match kind:
        case inspect.EnumType():
            return " or ".join(str(member.value) for member in kind.cls)
        case inspect.UnionType():
            return " or ".join(_wanted(each) for each in kind.types if not isinstance(each, inspect.NoneType))
        case _:
            return _WORDS.get(type(kind), "something else")
