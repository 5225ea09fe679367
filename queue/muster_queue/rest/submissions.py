"""From JSON to a job that can be submitted, or to everything that is wrong with it, by field."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

import msgspec

from muster_api.field_errors import FieldError
from muster_api.job_rules import LARGEST_CONFIG, validate_job
from muster_api.jobs import AIJob, AIJobSpec, Execution, JobGang, JobResources, JobRetryPolicy
from muster_api.objects import ObjectMeta
from muster_api.shapes import decode_shape, shape_errors
from muster_queue.rest.job_types import JobRequest, to_spec
from muster_queue.rest.problems import Kind, ProblemError
from muster_queue.rest.wire import check_depth

_DECODER: Final = msgspec.json.Decoder(JobRequest)
_SNAKE: Final[dict[str, str]] = {
    encoded: name
    for struct in (AIJobSpec, JobGang, JobRetryPolicy, JobResources)
    for name, encoded in zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True)
    if name != encoded
}
_CAMEL: Final[dict[str, str]] = {name: encoded for encoded, name in _SNAKE.items()}
_NESTED: Final = ("gang", "retry_policy")
_WORDS: Final = re.compile(rf"\b({'|'.join(_SNAKE)})\b")
_ANY_TYPE: Final = "training"
"""No rule asks for the type of a job."""
_FREE: Final = ("config", "result")
"""Handed on as they are, down to how their numbers are written."""
_ESCAPED_NUL: Final = b"\\u0000"
_SMALL_BODY: Final = LARGEST_CONFIG // 8
"""Nothing in it gets larger than a configuration may be, however its numbers are written anew."""


class ReadJob(msgspec.Struct, frozen=True):
    """What somebody asked for, and its specification in the words of the custom resource."""

    request: JobRequest
    spec: AIJobSpec


def read_job(body: bytes | msgspec.Raw) -> ReadJob:
    """The job, right in itself; raises a ProblemError that names all that is wrong."""
    body = bytes(body)
    check_depth(body)
    try:
        request = _DECODER.decode(body)
    except msgspec.ValidationError:
        request = _second_reading(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(Kind.MALFORMED, f"the body is no JSON that can be read: {error}") from None
    if _ESCAPED_NUL in body:
        _refuse_nul(body)
    spec = to_spec(request)
    if not _is_surely_right(request, len(body)):
        errors = _rule_errors(spec, request.name or "")
        if errors:
            raise ProblemError(Kind.CONTRADICTORY, _summary(errors), errors)
    return ReadJob(request, spec)


def _is_surely_right(request: JobRequest, size: int) -> bool:
    """Most jobs: each field was right by itself, and there are no two that could contradict each other.

    Applying all the rules costs more than all other reading, so that it is left to jobs that can break one.
    """
    return (
        (request.image != "" or request.execution is Execution.POOL)
        and len(request.env) < 2
        and request.resources is None
        and not request.gang.enabled
        and request.gang.members is None
        and size <= _SMALL_BODY
    )


def _second_reading(body: bytes) -> JobRequest:
    """What the decoder did not take: right all the same if only whole numbers were written as 4.0, else a problem."""
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise ProblemError(Kind.MALFORMED, f"the body is no JSON that can be read: {error}") from None
    if not isinstance(value, dict):
        raise ProblemError(Kind.INVALID, "send one JSON object, a job", [FieldError("object", "write an object")])
    value = whole_numbers(value)
    try:
        return msgspec.convert(value, JobRequest)
    except msgspec.ValidationError:
        raise _mismatch(value) from None


def whole_numbers(value: Any) -> Any:
    """JSON knows one kind of number: 4.0 is the whole number 4, but for where users keep data of their own."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [whole_numbers(each) for each in value]
        case dict():
            return {name: each if name in _FREE else whole_numbers(each) for name, each in value.items()}
        case _:
            return value


def _mismatch(value: dict[str, Any]) -> ProblemError:
    """All errors of form, and of the rules what can be said of the fields whose form is right."""
    errors = shape_errors(value, JobRequest) or [FieldError("object", "cannot be read")]
    errors += _further_errors(value, {_top(error.path) for error in errors})
    return ProblemError(Kind.INVALID, _summary(errors), errors)


def _further_errors(value: dict[str, Any], wrong: Collection[str]) -> list[FieldError]:
    """What the rules say of the fields whose form is right."""
    rest = {"job_type": _ANY_TYPE} | {name: each for name, each in value.items() if name not in wrong}
    spec, _ = decode_shape(msgspec.json.encode(_camel(rest)), AIJobSpec)
    if spec is None:
        return []
    return [error for error in _rule_errors(spec, "") if _top(error.path) not in wrong]


def _top(path: str) -> str:
    return re.split(r"[.\[]", path, maxsplit=1)[0]


def _rule_errors(spec: AIJobSpec, name: str) -> list[FieldError]:
    found = validate_job(AIJob(spec=spec, metadata=ObjectMeta(name=name)))
    return [FieldError(_snake_path(error.path), _WORDS.sub(_as_snake, error.message)) for error in found]


def _snake_path(path: str) -> str:
    path = path.removeprefix("spec.").removeprefix("metadata.")
    before, bracket, key = path.partition("[")
    return f"{_WORDS.sub(_as_snake, before)}{bracket}{key}"


def _as_snake(found: re.Match[str]) -> str:
    return _SNAKE[found.group()]


def _camel(value: dict[str, Any]) -> dict[str, Any]:
    renamed = {_CAMEL.get(name, name): each for name, each in value.items()}
    for part in _NESTED:
        name = _CAMEL.get(part, part)
        if isinstance(renamed.get(name), dict):
            renamed[name] = {_CAMEL.get(key, key): each for key, each in renamed[name].items()}
    return renamed


def _summary(errors: Sequence[FieldError]) -> str:
    return str(errors[0]) if len(errors) == 1 else f"{len(errors)} fields are not right; the first is {errors[0]}"


def _refuse_nul(body: bytes) -> None:
    """No store and no process takes the character NUL; said here, by field, and not by a failing statement."""
    paths = _nul_paths(msgspec.json.decode(body), "")
    errors = [FieldError(path or "object", "leave out the character NUL") for path in paths]
    if errors:
        raise ProblemError(Kind.INVALID, _summary(errors), errors)


def _nul_paths(value: Any, path: str) -> Iterator[str]:
    match value:
        case str() if "\0" in value:
            yield path
        case list():
            for index, each in enumerate(value):
                yield from _nul_paths(each, f"{path}[{index}]")
        case dict():
            for key, each in value.items():
                where = f"{path}.{key}" if path else key
                if "\0" in key:
                    yield path
                else:
                    yield from _nul_paths(each, where)
