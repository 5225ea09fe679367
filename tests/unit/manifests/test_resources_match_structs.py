"""The CRDs and the structs of muster_api describe the same fields: names, types, enums, requirements and defaults."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from msgspec import inspect

from muster_api.gangs import Gang, PlacementTerm
from muster_api.jobs import AIJob, AIJobQueue, ComputeCluster, GPUWorkload

MANIFESTS = Path(__file__).parents[3] / "manifests"
TWINS = {
    "gangs": Gang,
    "placementterms": PlacementTerm,
    "aijobs": AIJob,
    "aijobqueues": AIJobQueue,
    "computeclusters": ComputeCluster,
    "gpuworkloads": GPUWorkload,
}
OPEN_FIELDS = {"apiVersion", "kind", "metadata"}


def schema_of(plural: str) -> dict[str, Any]:
    definition = yaml.safe_load((MANIFESTS / "crd" / f"{plural}.yaml").read_text())
    (version,) = definition["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def differences(schema: dict[str, Any], kind: inspect.Type, path: str) -> Iterator[str]:
    match kind:
        case inspect.StructType():
            yield from struct_differences(schema, kind, path)
        case inspect.UnionType():
            yield from union_differences(schema, kind, path)
        case inspect.VarTupleType() | inspect.ListType():
            if schema.get("type") != "array":
                yield f"{path}: an array here, {schema.get('type')} in the CRD"
            else:
                yield from differences(schema["items"], kind.item_type, f"{path}[]")
        case inspect.DictType():
            yield from mapping_differences(schema, kind, path)
        case inspect.EnumType():
            if set(schema.get("enum", ())) != {member.value for member in kind.cls}:
                yield f"{path}: the enums differ"
        case _:
            yield from scalar_differences(schema, kind, path)


def scalar_differences(schema: dict[str, Any], kind: inspect.Type, path: str) -> Iterator[str]:
    names = {
        inspect.StrType: "string",
        inspect.IntType: "integer",
        inspect.BoolType: "boolean",
        inspect.FloatType: "number",
    }
    wanted = names.get(type(kind))
    if schema.get("type") != wanted:
        yield f"{path}: {wanted} here, {schema.get('type')} in the CRD"
    if "enum" in schema and wanted == "string" and path.rsplit(".", 1)[-1] not in ("status", "phase"):
        yield f"{path}: an enum in the CRD only"


def union_differences(schema: dict[str, Any], kind: inspect.UnionType, path: str) -> Iterator[str]:
    kinds = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
    if len(kinds) == 1:
        yield from differences(schema, kinds[0], path)
    elif not schema.get("x-kubernetes-int-or-string"):
        yield f"{path}: several types here, not int-or-string in the CRD"


def mapping_differences(schema: dict[str, Any], kind: inspect.DictType, path: str) -> Iterator[str]:
    if schema.get("type") != "object":
        yield f"{path}: an object here, {schema.get('type')} in the CRD"
    elif "additionalProperties" in schema:
        yield from differences(schema["additionalProperties"], kind.value_type, f"{path}{{}}")
    elif not schema.get("x-kubernetes-preserve-unknown-fields"):
        yield f"{path}: a map here, fixed fields in the CRD"


def struct_differences(schema: dict[str, Any], kind: inspect.StructType, path: str) -> Iterator[str]:
    fields = {field.encode_name: field for field in kind.fields}
    properties = schema.get("properties", {})
    names = set(properties) - OPEN_FIELDS if path == "" else set(properties)
    for name in sorted(names.symmetric_difference(set(fields) - OPEN_FIELDS if path == "" else set(fields))):
        yield f"{path}.{name}: in the {'CRD' if name in names else 'struct'} only"
    for name in sorted(names & set(fields)):
        where = f"{path}.{name}"
        required = name in schema.get("required", ())
        yield from default_differences(properties[name], fields[name], required, where)
        yield from differences(properties[name], fields[name].type, where)


def default_differences(schema: dict[str, Any], field: inspect.Field, required: bool, path: str) -> Iterator[str]:
    if field.required:
        if not required:
            yield f"{path}: required here, optional in the CRD"
        return
    default = plain(field)
    if required or is_empty(default, field.type):
        return
    declared = schema.get("default", msgspec.UNSET)
    if isinstance(default, dict):
        if isinstance(declared, dict) and any(default.get(key, 0) != value for key, value in declared.items()):
            yield f"{path}: the CRD's default {declared!r} is none of {default!r}"
    elif declared != default:
        yield f"{path}: default {default!r} here, {declared!r} in the CRD"


def plain(field: inspect.Field) -> Any:
    """The default as the wire knows it, structs with all their own defaults written out."""
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    if isinstance(value, msgspec.Struct):
        return {name: msgspec.to_builtins(getattr(value, attribute)) for attribute, name in wire_names(value)}
    return value.value if isinstance(value, Enum) else value


def wire_names(value: msgspec.Struct) -> list[tuple[str, str]]:
    return list(zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True))


def is_empty(default: Any, kind: inspect.Type) -> bool:
    """Nothing said: the CRD need not spell out that an absent text is empty, or an absent list."""
    return default is None or default in ("", (), {}) or (default == 0 and isinstance(kind, inspect.IntType))


@pytest.mark.parametrize("plural", TWINS)
def test_resource_and_struct_describe_the_same_fields(plural: str) -> None:
    assert list(differences(schema_of(plural), inspect.type_info(TWINS[plural]), "")) == []


def test_every_resource_has_a_struct() -> None:
    assert {path.stem for path in (MANIFESTS / "crd").glob("*.yaml")} - {"kustomization"} == set(TWINS)


def test_a_field_without_effect_says_so() -> None:
    """To be dropped with the first line of code that reads spec.preemptionPolicy of a queue."""
    fields = schema_of("aijobqueues")["properties"]["spec"]["properties"]
    assert "no effect yet" in fields["preemptionPolicy"]["description"]


def test_a_missing_field_is_noticed() -> None:
    schema = schema_of("gangs")
    del schema["properties"]["spec"]["properties"]["queue"]
    assert list(differences(schema, inspect.type_info(Gang), "")) == [".spec.queue: in the struct only"]


def test_another_default_is_noticed() -> None:
    schema = schema_of("aijobs")
    schema["properties"]["spec"]["properties"]["retryPolicy"]["properties"]["maxRetries"]["default"] = 5
    assert list(differences(schema, inspect.type_info(AIJob), "")) == [
        ".spec.retryPolicy.maxRetries: default 3 here, 5 in the CRD"
    ]


def test_another_enum_is_noticed() -> None:
    schema = schema_of("gpuworkloads")
    schema["properties"]["spec"]["properties"]["priority"]["enum"].remove("low")
    assert list(differences(schema, inspect.type_info(GPUWorkload), "")) == [".spec.priority: the enums differ"]
