"""The wire: keys in either case, null pointers, nodes kept as bytes, and every candidate in one of the lists."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bones.extender_world import pod_object
from muster_extender.candidates import Candidates, filter_result
from muster_extender.protocol import (
    ProtocolError,
    decode_args,
    decode_binding,
    decode_preemption,
    encode_binding_error,
    pod_of,
)

POD = pod_object(
    name="a", namespace="team", uid="", gang="", ticket="", node="", phase="Pending", gpus=1, markers=True,
    deleting=False, created="2026-01-01T00:00:00Z", spec={},
)  # fmt: skip
NODE_NAME = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,20}[a-z0-9])?", fullmatch=True)
ANY_NAME = st.one_of(NODE_NAME, st.text(max_size=8))


def encode(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def as_sent(value: Any) -> Any:
    return json.loads(msgspec.json.encode(value))


@pytest.mark.parametrize("keys", [("Pod", "Nodes", "NodeNames"), ("pod", "nodes", "nodeNames")])
def test_a_filter_call_is_read_in_either_case(keys: tuple[str, str, str]) -> None:
    pod, nodes, names = keys
    args = decode_args(encode({pod: POD, nodes: None, names: ["n1", "n2"]}))
    assert pod_of(args).metadata.uid == "uid-a"
    assert Candidates(args.node_names).names == ["n1", "n2"]


@pytest.mark.parametrize(
    "keys", [("PodName", "PodNamespace", "PodUID", "Node"), ("podname", "podNamespace", "podUid", "node")]
)
def test_a_bind_call_is_read_in_either_case(keys: tuple[str, ...]) -> None:
    args = decode_binding(encode(dict(zip(keys, ("a", "team", "uid-a", "n1"), strict=True))))
    assert (args.pod_name, args.pod_namespace, args.pod_uid, args.node) == ("a", "team", "uid-a", "n1")


def test_victims_come_short_or_whole_and_with_null_pointers() -> None:
    short = {"n1": {"Pods": [{"UID": "u1"}], "NumPDBViolations": 2}, "n2": {"Pods": None, "NumPDBViolations": 0}}
    args = decode_preemption(encode({"Pod": POD, "NodeNameToVictims": None, "NodeNameToMetaVictims": short}))
    assert as_sent(args.candidates())["n1"] == {"Pods": [{"UID": "u1"}], "NumPDBViolations": 2}
    whole = {"n1": {"Pods": [POD], "NumPDBViolations": 1}}
    args = decode_preemption(encode({"Pod": POD, "NodeNameToVictims": whole, "NodeNameToMetaVictims": None}))
    assert as_sent(args.candidates()) == {"n1": {"Pods": [{"UID": "uid-a"}], "NumPDBViolations": 1}}


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{", b'{"Pod":null}', b'{"Pod":{"metadata":{"uid":3}}}', b'{"Pod":{}}', b"\xff\xfe", b'"x"'],
)
def test_nonsense_is_told_apart(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        pod_of(decode_args(body))
    with pytest.raises(ProtocolError):
        pod_of(decode_preemption(body))
    with pytest.raises(ProtocolError):
        decode_binding(body)


@pytest.mark.parametrize("names", ["null", '{"a":1}', "[1,2]", '["a",null]', '"a"'])
def test_node_names_have_to_be_names(names: str) -> None:
    with pytest.raises(ProtocolError):
        _ = Candidates(msgspec.Raw(names.encode())).names


def test_full_nodes_are_refused_with_a_hint() -> None:
    args = decode_args(encode({"Pod": POD, "Nodes": {"metadata": {}, "items": []}, "NodeNames": None}))
    with pytest.raises(ProtocolError, match="nodeCacheCapable"):
        Candidates(args.node_names)


@given(st.lists(ANY_NAME, unique=True, max_size=12), st.text(max_size=12), st.data())
def test_refusals_name_every_candidate_but_the_accepted_one(names: list[str], message: str, data: Any) -> None:
    candidates = Candidates(msgspec.Raw(encode(names)))
    assert candidates.names == names
    accepted = data.draw(st.sampled_from(names)) if names else None
    refused = json.loads(candidates.refused(message, but=accepted))
    assert refused == {name: message for name in names if name != accepted}
    assert json.loads(candidates.refused(message)) == dict.fromkeys(names, message)
    assert all(name in candidates for name in names)
    assert "no-such-node-name" not in candidates


@given(st.lists(NODE_NAME, unique=True, min_size=1, max_size=5), NODE_NAME)
def test_part_of_a_name_is_no_candidate(names: list[str], other: str) -> None:
    assert (other in Candidates(msgspec.Raw(encode(names)))) == (other in names)


def test_a_filter_answer_has_every_key() -> None:
    answer = json.loads(filter_result(("n1",), b'{"n2":"no"}'))
    assert answer == {
        "Nodes": None,
        "NodeNames": ["n1"],
        "FailedNodes": {},
        "FailedAndUnresolvableNodes": {"n2": "no"},
        "Error": "",
    }
    assert json.loads(filter_result((), error='say "no"'))["Error"] == 'say "no"'
    assert json.loads(encode_binding_error("x")) == {"Error": "x"}
