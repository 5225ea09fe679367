"""What makes a pod Muster's, what it asks for, and who is alike."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from muster_api import names
from muster_api.membership import (
    MembershipError,
    asks_for,
    demand,
    foreign_gates,
    gang_minimum,
    gang_size,
    is_gated,
    needs_gate,
    pod_priority,
    shape_of,
    unsupported_constraint,
)
from muster_api.objects import Pod

GPUS = (names.GPU_RESOURCE,)


def container(**requests: str) -> dict[str, Any]:
    return {"name": "main", "resources": {"requests": requests}}


GPU = {"nvidia.com/gpu": "1"}


def pod(metadata: dict[str, Any] | None = None, **spec: Any) -> Pod:
    spec.setdefault("containers", [container(cpu="1")])
    return msgspec.convert({"metadata": metadata or {}, "spec": spec}, Pod)


def gang_pod(**annotations: str) -> Pod:
    marks = {f"{names.PREFIX}{name.replace('_', '-')}": value for name, value in annotations.items()}
    return pod({"labels": {names.GANG_LABEL: "g"}, "annotations": marks})


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (pod(containers=[container(**GPU)]), True),
        (pod(containers=[{"name": "c", "resources": {"limits": GPU}}]), True),
        (pod(initContainers=[container(**GPU)]), True),
        (pod(), False),
        (gang_pod(), True),
        (pod({"annotations": {names.MIRROR_ANNOTATION: "x"}}, containers=[container(**GPU)]), False),
        (pod(containers=[container(**GPU)], schedulingGroup={"podGroupName": "g"}), False),
    ],
    ids=["requests", "limits", "init container", "cpu only", "cpu-only member", "mirror pod", "native group"],
)
def test_who_is_gated(given: Pod, wanted: bool) -> None:
    assert needs_gate(given, GPUS) is wanted


def test_gates_of_others_are_told_apart() -> None:
    gated = pod(schedulingGates=[{"name": names.GATE}, {"name": "example.com/other"}])
    assert is_gated(gated)
    assert foreign_gates(gated) == ["example.com/other"]
    assert not asks_for(gated, GPUS)


@pytest.mark.parametrize("size", ["0", "-1", "x", "1.5", "100001", "", "٣", "9" * 400])
def test_a_bad_gang_size_says_where_and_what_is_accepted(size: str) -> None:
    with pytest.raises(MembershipError, match=r"annotations\[aiplatform.*gang-size\].*1 to 100000"):
        gang_size(gang_pod(gang_size=size))


def test_the_minimum_is_the_size_unless_said() -> None:
    assert gang_minimum(gang_pod(gang_size="4")) == 4
    assert gang_minimum(gang_pod(gang_size="4", gang_min="2")) == 2
    with pytest.raises(MembershipError, match="5 is more than the gang size of 4"):
        gang_minimum(gang_pod(gang_size="4", gang_min="5"))


@pytest.mark.parametrize(
    ("given", "queue", "wanted"),
    [
        (gang_pod(priority="70"), 10, 70),
        (gang_pod(priority="high"), 10, 80),
        (gang_pod(priority="nonsense"), 10, 10),
        (pod(priorityClassName="muster-critical"), 10, 95),
        (pod(priorityClassName="somebody-elses"), None, 50),
        (pod(), 30, 30),
    ],
    ids=["annotation", "word", "nonsense falls to the queue", "our class", "foreign class", "queue"],
)
def test_priority(given: Pod, queue: int | None, wanted: int) -> None:
    assert pod_priority(given, queue) == wanted


@pytest.mark.parametrize(
    ("given", "cpu"),
    [
        (pod(containers=[container(cpu="1"), container(cpu="2")]), 3000),
        (pod(containers=[container(cpu="1")], initContainers=[container(cpu="5")]), 5000),
        (
            pod(containers=[container(cpu="1")], initContainers=[{**container(cpu="2"), "restartPolicy": "Always"}]),
            3000,
        ),
        (
            pod(
                containers=[container(cpu="1")],
                initContainers=[{**container(cpu="2"), "restartPolicy": "Always"}, container(cpu="4")],
            ),
            6000,
        ),
        (pod(containers=[container(cpu="1")], overhead={"cpu": "250m"}), 1250),
    ],
    ids=["sum", "init peak", "sidecar beside", "init beside sidecar", "overhead"],
)
def test_demand_follows_the_scheduler(given: Pod, cpu: int) -> None:
    assert demand(given) == {"cpu": cpu, "pods": 1}


def test_shapes_tell_members_apart_by_what_decides_their_place() -> None:
    base = pod(containers=[container(cpu="1", memory="1Gi")])
    assert shape_of(base) == shape_of(pod({"name": "other"}, containers=[container(memory="1024Mi", cpu="1000m")]))
    assert shape_of(base) != shape_of(pod(containers=[container(cpu="2", memory="1Gi")]))
    assert shape_of(base) != shape_of(pod(nodeSelector={"a": "b"}, containers=[container(cpu="1", memory="1Gi")]))


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({}, None),
        ({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]}, "hostPort"),
        (
            {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}},
            "podAntiAffinity",
        ),
        ({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{}]}}}, None),
        ({"topologySpreadConstraints": [{"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]}, "Spread"),
        ({"topologySpreadConstraints": [{"topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]}, None),
        ({"resourceClaims": [{"name": "gpu"}]}, "resourceClaims"),
    ],
)
def test_what_the_planner_does_not_model_is_named(spec: dict[str, Any], path: str | None) -> None:
    found = unsupported_constraint(pod(**spec))
    assert (found is None) if path is None else (found is not None and path in found)
