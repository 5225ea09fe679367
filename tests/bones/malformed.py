"""Bodies that no API server sends, written by hand and made up by the thousand, for every door that takes reviews."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from bones.builders import make_pod
from bones.reviews import make_review

P = "aiplatform.example.com"
GOOD_POD = make_review(make_pod("p", "ns", gang="g", size=3))
GOOD_JOB = make_review(
    {
        "apiVersion": f"{P}/v1alpha1",
        "kind": "AIJob",
        "metadata": {"name": "job", "namespace": "ns"},
        "spec": {"jobType": "training", "image": "i", "resources": {"requests": {"cpu": "1"}}},
    }
)


def changed(review: dict[str, Any], **request: Any) -> bytes:
    """A good review with parts of its request replaced."""
    return json.dumps({**review, "request": {**review["request"], **request}}).encode()


WRITTEN: dict[str, bytes] = {
    "nothing": b"",
    "white space": b"  \n ",
    "no JSON": b"hello",
    "half a review": json.dumps(GOOD_POD).encode()[:300],
    "two reviews": json.dumps(GOOD_POD).encode() * 2,
    "a number": b"42",
    "null": b"null",
    "a list": json.dumps([GOOD_POD]).encode(),
    "an empty object": b"{}",
    "no UTF-8": b'{"apiVersion": "\xff\xfe"}',
    "no UTF-8 in the pod": json.dumps(GOOD_POD).encode().replace(b'"g"', b'"\xc3\x28"'),
    "no UTF-8 in the job": json.dumps(GOOD_JOB).encode().replace(b'"training"', b'"\x80"'),
    "a byte order mark": b"\xef\xbb\xbf" + json.dumps(GOOD_POD).encode(),
    "UTF-16": json.dumps(GOOD_POD).encode("utf-16"),
    "zero bytes": b"\x00" * 1000,
    "an unknown version": json.dumps({**GOOD_POD, "apiVersion": "admission.k8s.io/v2"}).encode(),
    "v1beta1": json.dumps({**GOOD_POD, "apiVersion": "admission.k8s.io/v1beta1"}).encode(),
    "another kind": json.dumps({**GOOD_POD, "kind": "Pod"}).encode(),
    "a version that is a number": json.dumps({**GOOD_POD, "apiVersion": 1}).encode(),
    "no request": json.dumps({**GOOD_POD, "request": None}).encode(),
    "a request that is a list": json.dumps({**GOOD_POD, "request": []}).encode(),
    "no uid": changed(GOOD_POD, uid=""),
    "a uid that is a number": changed(GOOD_POD, uid=7),
    "a uid without end": changed(GOOD_POD, uid="u" * 100_000),
    "an operation that is a map": changed(GOOD_POD, operation={}),
    "an object that is a list": changed(GOOD_POD, object=[]),
    "an object that is text": changed(GOOD_POD, object="pod"),
    "no object": changed(GOOD_POD, object=None),
    "a pod without anything": changed(GOOD_POD, object={}),
    "labels that are a list": changed(GOOD_POD, object={"metadata": {"labels": []}}),
    "an annotation that is a number": changed(GOOD_POD, object={"metadata": {"annotations": {f"{P}/gang-size": 3}}}),
    "containers that are a map": changed(GOOD_POD, object={"spec": {"containers": {}}}),
    "requests that are a list": changed(GOOD_POD, object={"spec": {"containers": [{"resources": {"requests": []}}]}}),
    "a spec that is null": changed(GOOD_JOB, object={"spec": None}),
    "a job without anything": changed(GOOD_JOB, object={}),
    "a priority out of any range": changed(GOOD_JOB, object={"spec": {"jobType": "training", "priority": 10**40}}),
    "infinity": json.dumps(GOOD_JOB).encode().replace(b'"training"', b"1e999"),
    "no number at all": json.dumps(GOOD_JOB).encode().replace(b'"training"', b"NaN"),
    "arrays in arrays without end": b'{"request":' + b"[" * 500_000,
    "a deep tower of objects": b'{"request":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "a deep tower inside the object": json.dumps(GOOD_POD).encode().replace(b'"Pod"', b"[" * 50_000 + b"]" * 50_000),
    "a deep config": json.dumps(GOOD_JOB)
    .encode()
    .replace(b'"i"', b'"i","config":' + b'{"a":' * 9000 + b"1" + b"}" * 9000),
    "a number of a million digits": json.dumps(GOOD_JOB).encode().replace(b'"i"', b"1" * 1_000_000),
    "keys that differ in case only": json.dumps(GOOD_POD).encode().replace(b'"request"', b'"Request"'),
}

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        found += _paths(child, (*path, key))
    return found


def _with(value: Any, path: tuple[Any, ...], replacement: Any) -> Any:
    if not path:
        return replacement
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = _with(value[path[0]], path[1:], replacement)
    return copied


@st.composite
def replaced_reviews(draw: st.DrawFn) -> bytes:
    """A good review in which up to three values have become something else."""
    review: Any = draw(st.sampled_from([GOOD_POD, GOOD_JOB]))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_paths(review)))
        review = _with(review, path, draw(JSON_VALUES))
    return json.dumps(review).encode()


@st.composite
def cut_reviews(draw: st.DrawFn) -> bytes:
    """The bytes of a good review, some of them gone or turned."""
    body = bytearray(json.dumps(draw(st.sampled_from([GOOD_POD, GOOD_JOB]))).encode())
    for _ in range(draw(st.integers(1, 5))):
        position = draw(st.integers(0, len(body) - 1))
        body[position : position + draw(st.integers(0, 8))] = draw(st.binary(max_size=6))
    return bytes(body)


JSON_BODIES = JSON_VALUES.map(lambda value: json.dumps(value).encode())
GENERATED = replaced_reviews() | cut_reviews() | st.binary(max_size=200) | JSON_BODIES
