"""Bodies that are made to be slow to read: whoever sends one must not hold up everybody else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from muster_api.shapes import MOST_ERRORS, decode_shape
from muster_queue.rest.bulk_reading import elements
from muster_queue.rest.pool_service import AcknowledgeRequest
from muster_queue.rest.problems import Kind, ProblemError
from muster_queue.rest.requests import understood
from muster_queue.rest.submissions import read_job
from muster_queue.rest.wire import DEEPEST_JSON, LARGEST_JOB, check_depth

# With a reader that looks at a byte more than a few times each of these takes minutes or hours.
pytestmark = pytest.mark.timeout(30)

HEAD = b'{"job_type": "training", "image": "x", '
BRACKETS = b"[" * (DEEPEST_JSON + 1)


@pytest.mark.parametrize("end", [b"", b"\\", b'"', b'\\"]'])
def test_a_string_without_an_end_is_read_once(end: bytes) -> None:
    body = BRACKETS + b'"' + b'\\"' * (LARGEST_JOB // 2) + end
    with pytest.raises(ProblemError) as refused:
        check_depth(body)
    assert refused.value.kind is Kind.MALFORMED


def test_brackets_in_strings_are_no_levels() -> None:
    check_depth(b'{"config": {"a": "' + b"[{" * 1000 + b'\\"[", "b": "\\\\"}}')


async def test_a_bulk_with_a_string_without_an_end_is_read_once() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'[{"a": "},{"}, "' + b'\\"' * (LARGEST_JOB // 2)

    with pytest.raises(ProblemError):
        [piece async for piece in elements(chunks())]


@pytest.mark.parametrize(
    ("field", "errors"),
    [
        (b'"env": [' + b"1," * 400_000 + b"1]", 257),
        (b'"args": [' + b"1," * 400_000 + b"1]", 257),
        (b'"labels": {' + b",".join(b'"%d": 1' % each for each in range(80_000)) + b"}", 33),
        (b",".join(b'"%d": 1' % each for each in range(80_000)), MOST_ERRORS),
    ],
    ids=["env", "args", "labels", "unknown fields"],
)
def test_nobody_looks_for_errors_without_end(field: bytes, errors: int) -> None:
    with pytest.raises(ProblemError) as refused:
        read_job(HEAD + field + b"}")
    assert refused.value.kind is Kind.INVALID
    assert f"{errors} fields are not right" in str(refused.value)
    assert len(refused.value.problem.errors) == min(errors, 100)


def test_an_acknowledgement_of_nothing_but_errors_is_refused_at_once() -> None:
    found, errors = decode_shape(b'{"worker": "w", "successes": [' + b"1," * 2_000_000 + b"1]}", AcknowledgeRequest)
    assert found is None
    assert errors[0].message == "2000001 entries are too many; write at most 500"
    assert len(errors) == 501


@pytest.mark.parametrize("opened", [b"[", b'{"a":'])
def test_levels_without_end_are_no_crash(opened: bytes) -> None:
    result = b'{"job_id": "019375e5-0000-7000-8000-000000000000", "attempt": 1, "result": ' + opened * 500_000
    found, errors = decode_shape(b'{"worker": "w", "successes": [' + result, AcknowledgeRequest)
    assert (found, len(errors)) == (None, 1)


def test_a_whole_number_may_be_written_like_any_other() -> None:
    job = b'"job_id": "019375e5-0000-7000-8000-000000000000"'
    body = b'{"worker": "w", "successes": [{%b, "attempt": 2.0, "result": {"pi": 3.0}}]}' % job
    (success,) = understood(body, AcknowledgeRequest).successes
    assert (success.attempt, bytes(success.result)) == (2, b'{"pi":3.0}')
    with pytest.raises(ProblemError, match="a whole number"):
        understood(body.replace(b"2.0", b"2.5"), AcknowledgeRequest)
