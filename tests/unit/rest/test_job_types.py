"""REST's words for a job are the custom resource's, in snake_case, with the same limits; and the documents say so."""

from __future__ import annotations

import json
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muster_api.job_rules import validate_job
from muster_api.jobs import AIJob, AIJobSpec, JobType
from muster_kube.clock import SystemClock
from muster_local.manifests import read_documents
from muster_queue.rest.docs_page import page
from muster_queue.rest.identifiers import default_name, new_job_id, read_job_id
from muster_queue.rest.job_types import JobRequest, JobSpecification, SpecificationAnswer, from_spec, to_spec
from muster_queue.rest.openapi import describe
from muster_queue.rest.operations import OPERATIONS
from muster_queue.rest.problems import ProblemError
from muster_queue.rest.submissions import read_job

ROOT = Path(__file__).resolve().parents[3]
OURS = {"name", "namespace", "labels"}


def struct_of(kind: Any) -> type[msgspec.Struct] | None:
    """The struct inside an optional, a tuple or an annotation, if there is one."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    if get_origin(kind) in (Union, UnionType, tuple):
        return next((found for each in get_args(kind) if (found := struct_of(each))), None)
    return None


def twins(rest: type[msgspec.Struct], resource: type[msgspec.Struct]) -> list[tuple[Any, Any]]:
    pairs: list[tuple[Any, Any]] = [(rest, resource)]
    theirs, ours = get_type_hints(resource), get_type_hints(rest)
    for name in theirs.keys() & ours.keys():
        inner, outer = struct_of(theirs[name]), struct_of(ours[name])
        if inner and outer:
            pairs += twins(outer, inner)
    return pairs


@pytest.mark.parametrize("rest", [JobSpecification, SpecificationAnswer])
def test_every_field_of_an_aijob_has_its_twin(rest: type[msgspec.Struct]) -> None:
    pairs = twins(rest, AIJobSpec)
    assert len(pairs) == 5
    for ours, theirs in pairs:
        assert ours.__struct_fields__ == theirs.__struct_fields__
    assert set(JobRequest.__struct_fields__) - set(AIJobSpec.__struct_fields__) == OURS


def test_requests_have_the_defaults_of_the_resource() -> None:
    request = JobRequest(job_type=JobType.TRAINING)
    assert to_spec(msgspec.convert({"job_type": "training"}, JobRequest)) == AIJobSpec(job_type=request.job_type)


def test_the_schema_has_the_limits_of_the_custom_resource() -> None:
    """Field by field what the CRD bounds, the schema bounds alike."""
    (crd,) = (each for each in read_documents(ROOT / "manifests/crd/aijobs.yaml"))
    theirs = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    schemas = describe(OPERATIONS, "1")["components"]["schemas"]
    checked = list(compared(theirs, schemas["JobRequest"], schemas))
    assert len(checked) > 20


def compared(theirs: dict[str, Any], ours: dict[str, Any], schemas: dict[str, Any]) -> Any:
    for name, bounded in theirs.items():
        own = resolved(ours["properties"][snake(name)], schemas)
        for limit in ("minimum", "maximum", "maxLength", "maxItems", "maxProperties", "enum"):
            wanted = bounded.get(limit)
            if wanted is not None and not (name == "queue" and limit == "maxLength"):
                found = own.get(limit)
                assert (sorted(found) if limit == "enum" else found) == (
                    sorted(wanted) if limit == "enum" else wanted
                ), f"{name}.{limit}"
                yield name, limit
        if "properties" in bounded:
            yield from compared(bounded["properties"], own, schemas)


def resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    choices = [each for each in schema.get("anyOf", []) if each != {"type": "null"}] or [schema]
    reference = choices[0].get("$ref")
    return schemas[reference.rsplit("/", 1)[1]] if reference else choices[0]


def snake(name: str) -> str:
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name)


NUMBERS = st.one_of(st.none(), st.integers(-2, 110))
TEXTS = st.one_of(st.just("ok"), st.text("aA-.\n é0", max_size=4))


@settings(deadline=None)
@given(
    spec=st.fixed_dictionaries(
        {"job_type": st.just("training"), "image": st.sampled_from(["i", "i", "", "a b"])},
        optional={
            "execution": st.sampled_from(["pod", "pool"]),
            "config": st.sampled_from([{}, {"a": "x" * 65_536}]),
            "priority": NUMBERS,
            "queue": TEXTS,
            "cluster": TEXTS,
            "name": st.one_of(st.text("aA-.\n0", min_size=1, max_size=3), st.just("a" * 51)),
            "timeout_seconds": NUMBERS,
            "retry_policy": st.fixed_dictionaries({}, optional={"max_retries": st.integers(-1, 101)}),
            "gang": st.fixed_dictionaries(
                {}, optional={"enabled": st.booleans(), "min_members": st.integers(0, 3), "members": st.integers(0, 3)}
            ),
            "resources": st.fixed_dictionaries(
                {
                    "requests": st.dictionaries(
                        st.sampled_from(["cpu", "a b", "x\n"]), st.sampled_from(["1", "x", 2, -1])
                    )
                }
            ),
            "env": st.lists(st.fixed_dictionaries({"name": st.sampled_from(["A", "B=", ""])}), max_size=2),
        },
    )
)
def test_what_the_schema_lets_through_is_what_the_rules_let_through(spec: dict[str, Any]) -> None:
    """The published constraints and the webhook's rules never disagree about one and the same job."""
    camel = json.dumps(_renamed(spec)).encode()
    name = spec.get("name", "")
    errors = validate_job(
        AIJob(spec=msgspec.json.decode(camel, type=AIJobSpec), metadata=msgspec.convert({"name": name}, _meta()))
    )
    try:
        read_job(json.dumps(spec).encode())
        accepted = True
    except ProblemError:
        accepted = False
    assert accepted == (not errors)


def _meta() -> Any:
    return get_type_hints(AIJob)["metadata"]


def _renamed(value: Any) -> Any:
    if not isinstance(value, dict):
        return [_renamed(each) for each in value] if isinstance(value, list) else value
    return {camel(key): _renamed(each) for key, each in value.items() if key != "name" or "job_type" not in value}


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


@pytest.mark.parametrize("field", ["name", "namespace", "queue", "cluster", "image"])
def test_a_line_break_at_the_end_is_part_of_a_name(field: str) -> None:
    with pytest.raises(ProblemError) as refused:
        read_job(json.dumps({"job_type": "training", "image": "i", field: "abc\n"}).encode())
    assert [error.field for error in refused.value.problem.errors] == [field]


def test_whole_numbers_may_be_written_with_a_point() -> None:
    read = read_job(b'{"job_type": "training", "image": "i", "priority": 4.0, "config": {"a": 4.0}}')
    assert (read.spec.priority, read.spec.config, type(read.spec.config["a"])) == (4, {"a": 4.0}, float)


def test_a_specification_is_the_same_there_and_back() -> None:
    request = msgspec.convert({"job_type": "training", "image": "i", "gang": {"enabled": True}}, JobRequest)
    there = from_spec(to_spec(request))
    assert msgspec.to_builtins(there).items() >= {"job_type": "training", "image": "i"}.items()
    assert msgspec.convert(msgspec.to_builtins(there), JobSpecification).gang.enabled


def test_ids_sort_by_time_and_name_their_jobs() -> None:
    made = [new_job_id() for _ in range(200)]
    assert len(set(made)) == 200
    assert [each[:13] for each in made] == sorted(each[:13] for each in made)
    assert {each[14] for each in made} == {"7"}
    assert {each[19] for each in made} <= set("89ab")
    assert abs(int(made[0].replace("-", "")[:12], 16) / 1000 - SystemClock().now().timestamp()) < 60
    assert default_name("01234567-89ab-7def-8123-456789abcdef") == "job-0123456789ab7def8123"
    assert read_job_id(made[0].upper()) == made[0]


def test_the_documents_hold_every_operation_and_load_nothing() -> None:
    document = describe(OPERATIONS, "1")
    named = {each["operationId"] for methods in document["paths"].values() for each in methods.values()}
    assert named == {operation.name for operation in OPERATIONS}
    html = page(document).decode()
    assert all(operation.path in html for operation in OPERATIONS)
    assert not any(word in html for word in ("http://", "https://", "<script", "<link", "<img", "@import", "url("))
