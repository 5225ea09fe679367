"""OpenAPI 3.1, made from the table of operations and the very types that requests are read with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from muster_queue.rest.answers import BulkAnswer
from muster_queue.rest.job_types import JobRequest, NamespaceName, QueueName
from muster_queue.rest.operations import JOB_PARAMETER, OPERATIONS, Extent, Operation
from muster_queue.rest.problems import Problem

Document = dict[str, Any]

_PROBLEM_MEDIA: Final = "application/problem+json"
_REFERENCE: Final = "#/components/schemas/{name}"
_ID_SCHEMA: Final = {"type": "string", "format": "uuid"}
_KEY_PARAMETER: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key with the same body is done once and answered the same.",
    "schema": {"type": "string", "pattern": "^[!#-~][!-~]{0,254}$"},
}
_IF_MATCH: Final = {
    "name": "If-Match",
    "in": "header",
    "description": "The ETag of the version that is meant; another version is left alone.",
    "schema": {"type": "string", "pattern": '^"[1-9][0-9]{0,17}"$'},
}
_STATUSES: Final[dict[int, str]] = {
    400: "The request cannot be read, or does not match the schema.",
    401: "No token, or one that does not hold.",
    403: "The caller may not do this.",
    404: "There is no such thing, or the caller may not see it.",
    405: "Another method is for this path.",
    409: "The name is taken, or the job is in another phase: one that has not begun has no log.",
    412: "The job has changed meanwhile.",
    413: "The body is too large.",
    415: "The body is of another media type.",
    422: "Fields do not go together, or the idempotency key came with another request.",
    429: "Too much at once; nothing was done.",
    431: "The headers are too large, or too many.",
    500: "Something went wrong inside.",
    503: "A part that is needed is away.",
}


def describe(operations: Sequence[Operation], version: str) -> Document:
    """The whole document."""
    schemas = _schemas(operations)
    paths: dict[str, Document] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Muster", "version": version, "description": "Queue, schedule and follow GPU jobs."},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
        "security": [{"bearer": []}],
    }


def _schemas(operations: Sequence[Operation]) -> Document:
    kinds = [kind for each in operations for kind in (each.body, each.answer) if kind is not None]
    parameters = [field.type for each in operations for field in msgspec.structs.fields(each.query)]
    _, schemas = msgspec.json.schema_components([*kinds, *parameters, Problem, BulkAnswer], ref_template=_REFERENCE)
    _add_rules(schemas[JobRequest.__name__], schemas["Gang"])
    return schemas


def _add_rules(job: Document, gang: Document) -> None:
    """The rules among fields that a schema can say; the API answers 422 for the others."""
    pool = {"properties": {"execution": {"const": "pool"}}, "required": ["execution"]}
    image = {"properties": {"image": {"minLength": 1}}, "required": ["image"]}
    plain = {"properties": {"gang": {"properties": {"enabled": {"const": False}}}}}
    job["allOf"] = [{"anyOf": [image, {"allOf": [pool, plain]}]}, {"anyOf": [_is_not_pool(), plain]}]
    sized = {"properties": {"min_members": {"type": "integer"}}, "required": ["min_members"]}
    off = {"properties": {"enabled": {"const": False}, "members": {"type": "null"}}}
    gang["anyOf"] = [sized, off]


def _is_not_pool() -> Document:
    return {"properties": {"execution": {"const": "pod"}}}


def _operation(operation: Operation) -> Document:
    described: Document = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [_tag(operation)],
        "parameters": list(_parameters(operation)),
        "responses": dict(_responses(operation)),
    }
    if operation.extent is Extent.PUBLIC:
        described["security"] = []
    else:
        described["description"] = f"Needs `{_need(operation)}`; the namespace is that of {operation.extent}."
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _body_content(operation)}
    return described


def _tag(operation: Operation) -> str:
    parts = operation.path.strip("/").split("/")
    return parts[2] if parts[0] == "api" else "process"


def _need(operation: Operation) -> str:
    need = operation.need
    return "nothing" if need is None else str(need).removesuffix(" in all namespaces")


def _parameters(operation: Operation) -> Iterator[Document]:
    if JOB_PARAMETER in operation.path:
        yield {"name": "job_id", "in": "path", "required": True, "schema": _ID_SCHEMA}
    if operation.extent is Extent.POOL:
        for name, kind in (("namespace", NamespaceName), ("queue", QueueName)):
            yield {"name": name, "in": "path", "required": True, "schema": _reference(kind)}
    for field in msgspec.structs.fields(operation.query):
        schema = _without_null(_reference(field.type))
        yield {"name": field.encode_name, "in": "query", "required": False, "schema": schema}
    if operation.extent is Extent.BODY:
        yield dict(_KEY_PARAMETER)
    if operation.conditional:
        yield dict(_IF_MATCH)
    if operation.name == "job_events":
        yield {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"}}


def _without_null(schema: Document) -> Document:
    """A parameter is there or not; there is no way to write null."""
    choices = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    schema = choices[0] if len(choices) == 1 else schema
    return {key: value for key, value in schema.items() if key not in ("default", "title")}


def _body_content(operation: Operation) -> Document:
    schema = _reference(operation.body)
    if operation.name != "submit_jobs":
        return {"application/json": {"schema": schema}}
    lines = {"type": "string", "description": "One job a line.", "minLength": 1}
    return {"application/json": {"schema": schema | {"minItems": 1}}, "application/x-ndjson": {"schema": lines}}


def _reference(kind: Any) -> Document:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
    return schema


def _responses(operation: Operation) -> Iterator[tuple[str, Document]]:
    yield str(operation.status), _success(operation)
    if operation.name == "submit_jobs":
        yield "207", {"description": "Some were taken.", "content": _json(BulkAnswer)}
    if operation.name == "get_job":
        yield "304", {"description": "It is still the version that If-None-Match names."}
    if operation.name == "readyz":
        yield "503", {"description": "What is missing.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    for status, text in _STATUSES.items():
        if _can_have(operation, status):
            yield str(status), {"description": text, "content": _problem(operation, status)}


def _success(operation: Operation) -> Document:
    described: Document = {"description": operation.summary}
    if operation.answer is not None:
        described["content"] = _json(operation.answer)
    else:
        described["content"] = {operation.media: {"schema": {"type": "string"}}}
    if operation.name == "job_events":
        described["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    if operation.answer is not None and (operation.conditional or operation.name in ("get_job", "submit_job")):
        described["headers"] = {"ETag": {"schema": {"type": "string"}}}
    if operation.name == "submit_job":
        described["links"] = {each.name: _link(each) for each in OPERATIONS if each.extent is Extent.JOB}
    return described


def _link(operation: Operation) -> Document:
    return {"operationId": operation.name, "parameters": {"job_id": "$response.body#/job_id"}}


def _problem(operation: Operation, status: int) -> Document:
    content: Document = {_PROBLEM_MEDIA: {"schema": {"$ref": _REFERENCE.format(name="Problem")}}}
    if operation.name == "submit_jobs" and status == 422:
        content |= _json(BulkAnswer)
    return content


def _json(kind: Any) -> Document:
    return {"application/json": {"schema": _reference(kind)}}


def _can_have(operation: Operation, status: int) -> bool:
    if operation.extent is Extent.PUBLIC:
        return status in (400, 405, 431, 500)
    changes = operation.method != "GET"
    conflicts = changes and operation.extent is not Extent.POOL
    only_for = {
        409: conflicts or operation.name == "job_logs",
        412: operation.conditional,
        413: changes,
        415: operation.body is not None,
        422: conflicts,
    }
    return only_for.get(status, True)
