"""What is wrong with a pod, in words for its owner, before it can do any harm."""

from __future__ import annotations

import msgspec
import pytest

from bones.builders import make_pod
from muster_api.names import BIND_MARKER, GATE, MEMBER_MARKER
from muster_api.objects import Pod
from muster_api.reasons import Reason
from muster_queue.controller.members import read_member


def gated(*markers: str, gang: str | None = "g") -> Pod:
    manifest = make_pod("p", "team", gpus=None, gang=gang, size=3 if gang else None, schedulingGates=[{"name": GATE}])
    for amounts in manifest["spec"]["containers"][0]["resources"].values():
        amounts |= dict.fromkeys(markers, "0")
    return msgspec.convert(manifest, Pod)


@pytest.mark.parametrize("markers", [(), (MEMBER_MARKER,), (BIND_MARKER,)], ids=["none", "member", "bind"])
def test_a_member_that_the_extender_would_not_be_asked_about_is_not_let_go(markers: tuple[str, ...]) -> None:
    problem = read_member(gated(*markers)).problem
    assert problem is not None
    assert problem.reason is Reason.INVALID
    assert "muster-webhook did not see this pod" in problem.message


def test_a_member_with_both_markers_and_a_pod_without_a_gang_are_let_go() -> None:
    assert read_member(gated(MEMBER_MARKER, BIND_MARKER)).problem is None
    assert read_member(gated(gang=None)).problem is None
