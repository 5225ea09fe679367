"""Query strings, read as strictly as bodies, and the tokens that lead from one page to the next."""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta

from muster_api.field_errors import FieldError
from muster_api.jobs import JobType
from muster_api.phases import JobPhase
from muster_api.shapes import shape_errors
from muster_queue.rest.job_types import END, NamespaceName, QueueName, RequestStruct
from muster_queue.rest.problems import Kind, ProblemError
from muster_queue.rest.service import PageRequest, Position

Q = TypeVar("Q", bound="Query")

DEFAULT_LIMIT: Final = 100
LARGEST_LIMIT: Final = 500
_MOST_PARAMETERS: Final = 20
_LONGEST_QUERY: Final = 8 << 10
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}")
_LABEL_TERM: Final = r"[A-Za-z0-9][-A-Za-z0-9_./]{0,316}=([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"

Moment = Annotated[datetime, Meta(tz=True, description="a time with its zone, for example 2026-01-31T12:00:00Z")]
Selector = Annotated[
    str,
    Meta(
        pattern=f"^{_LABEL_TERM}(,{_LABEL_TERM}){{0,15}}{END}",
        max_length=4096,
        description="labels that all have to be there, for example team=vision,stage=test",
    ),
]
PageToken = Annotated[
    str, Meta(pattern=f"^[A-Za-z0-9_-]{{1,600}}{END}", description="the `next` of the page before, as it was")
]
ActorName = Annotated[str, Meta(pattern=rf"^[^\x00]{{1,256}}{END}", description="a user's name of 1 to 256 characters")]
JobId = Annotated[
    str,
    Meta(
        pattern=f"^[0-9a-f]{{8}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{12}}{END}",
        description="the id of a job",
    ),
]


class Query(RequestStruct, frozen=True, kw_only=True):
    """Base of all query strings; none has parameters but those it names."""


class NoQuery(Query, frozen=True, kw_only=True):
    """Of routes without parameters."""


class PageQuery(Query, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=LARGEST_LIMIT)] = DEFAULT_LIMIT
    page: PageToken | None = None


class NamespaceQuery(PageQuery, frozen=True, kw_only=True):
    namespace: NamespaceName | None = None


class JobsQuery(NamespaceQuery, frozen=True, kw_only=True):
    phase: JobPhase | None = None
    job_type: JobType | None = None
    queue: QueueName | None = None
    label: Selector | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None


class AuditQuery(NamespaceQuery, frozen=True, kw_only=True):
    job_id: JobId | None = None
    actor: ActorName | None = None
    after: Moment | None = None
    before: Moment | None = None


class LogsQuery(Query, frozen=True, kw_only=True):
    follow: bool = False
    tail: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    member: Annotated[int, Meta(ge=0, le=100_000)] = 0
    attempt: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


def read_query(raw: bytes, kind: type[Q]) -> Q:
    """The parameters; raises a ProblemError that names each one that is not right."""
    return _read(raw, kind) if raw else _nothing(kind)


@lru_cache
def _nothing(kind: type[Q]) -> Q:
    return kind()


def _read(raw: bytes, kind: type[Q]) -> Q:
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    values: dict[str, Any] = {}
    errors: list[FieldError] = []
    for name, text in _pairs(raw):
        if name in values:
            errors.append(FieldError(name, "stands there twice; leave one out"))
        elif name in fields:
            values[name] = _typed(text, fields[name])
    errors += _misfits(values, kind)
    errors += _unknown([name for name, _ in _pairs(raw)], tuple(fields))
    if errors:
        raise ProblemError(Kind.INVALID, str(errors[0]), errors)
    return msgspec.convert(values, kind)


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    if len(raw) > _LONGEST_QUERY:
        raise ProblemError(Kind.MALFORMED, f"the query string is too long; at most {_LONGEST_QUERY} bytes are read")
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_PARAMETERS, errors="strict")
    except ValueError:
        raise ProblemError(Kind.MALFORMED, "the query string cannot be read") from None


def _typed(text: str, kind: Any) -> object:
    """The text as what its parameter wants, where it is one; any other text stays for the message."""
    for value in (text, *_readings(text)):
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError:
            continue
        return value
    return next(_readings(text), text)


def _readings(text: str) -> Iterator[object]:
    if text in ("true", "false"):
        yield text == "true"
    if _NUMBER.fullmatch(text):
        yield int(text)


def _misfits(values: dict[str, Any], kind: type[Query]) -> list[FieldError]:
    try:
        msgspec.convert(values, kind)
    except msgspec.ValidationError:
        return shape_errors(values, kind)
    return []


def _unknown(names: Sequence[str], known: Sequence[str]) -> list[FieldError]:
    said = ", ".join(known) or "none"
    return [
        FieldError(name[:80], f"there is no such parameter; there are {said}") for name in names if name not in known
    ]


def selected_labels(query: JobsQuery) -> dict[str, str]:
    terms = (query.label or "").split(",")
    return {name: value for name, _, value in (term.partition("=") for term in terms if term)}


class _Token(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    query: str
    number: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    text: Annotated[str, Meta(max_length=320, pattern=rf"^[^\x00]*{END}")]


_TOKEN: Final = msgspec.json.Decoder(_Token)


def page_request(query: PageQuery) -> PageRequest:
    """Where to go on; a token of another query leads nowhere sensible and is refused."""
    if query.page is None:
        return PageRequest(limit=query.limit)
    text = query.page
    try:
        token = _TOKEN.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error):
        raise _bad_page() from None
    if token.query != _digest(query):
        raise _bad_page()
    return PageRequest(limit=query.limit, after=Position(token.number, token.text))


def next_page(query: PageQuery, position: Position | None) -> str | None:
    """What a client sends to get the page after this one. It opens nothing: the door asks for each page anew."""
    if position is None:
        return None
    token = _Token(_digest(query), position.number, position.text)
    return urlsafe_b64encode(msgspec.json.encode(token)).rstrip(b"=").decode()


def _digest(query: PageQuery) -> str:
    chosen: Mapping[str, Any] = msgspec.structs.asdict(msgspec.structs.replace(query, page=None, limit=DEFAULT_LIMIT))
    return sha256(msgspec.json.encode(chosen, order="sorted")).hexdigest()[:16]


def _bad_page() -> ProblemError:
    error = FieldError("page", "is no page of this list; send the `next` of the page before, with the same filters")
    return ProblemError(Kind.INVALID, str(error), [error])
