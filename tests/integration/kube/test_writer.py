"""Every verb of the writer, with its preconditions, against a real API server."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from muster_api.objects import Pod
from muster_kube.errors import AlreadyExists, Conflict, Invalid, NotFound, TooManyRequests
from muster_kube.events import EventRecorder, EventType, Reference
from muster_kube.resources import EVENTS, PODS
from muster_kube.session import ApiSession
from muster_kube.writer import Writer

CONTAINER = {"name": "main", "image": "example.invalid/none"}


@pytest.fixture
async def pod(writer: Writer, namespace: str) -> Pod:
    """A gated pod; nothing here ever runs it."""
    await writer.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "default"}})
    manifest = {
        "metadata": {"name": "pod", "labels": {"app": "test"}},
        "spec": {"containers": [CONTAINER], "schedulingGates": [{"name": "example.com/ours"}, {"name": "other/gate"}]},
    }
    created = await writer.create(PODS.in_namespace(namespace).collection, manifest)
    return msgspec.json.decode(created, type=Pod)


def path_of(pod: Pod) -> str:
    return PODS.object_path(pod.metadata.namespace, pod.metadata.name)


async def test_one_strategic_patch_removes_one_gate_and_adds_an_annotation(writer: Writer, pod: Pod) -> None:
    patch: dict[str, Any] = {
        "metadata": {"uid": pod.metadata.uid, "annotations": {"example.com/release": "ticket"}},
        "spec": {"schedulingGates": [{"$patch": "delete", "name": "example.com/ours"}]},
    }
    await writer.patch_strategic(path_of(pod), patch)
    patched = await writer.get(path_of(pod), Pod)
    assert [gate.name for gate in patched.spec.scheduling_gates] == ["other/gate"]
    assert patched.metadata.annotations["example.com/release"] == "ticket"
    patch["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    with pytest.raises(Conflict):
        await writer.patch_strategic(path_of(pod), patch)


async def test_merge_patch_with_an_old_version_is_a_conflict(writer: Writer, pod: Pod) -> None:
    patch = {"metadata": {"resourceVersion": pod.metadata.resource_version, "labels": {"a": "b"}}}
    await writer.patch_merge(path_of(pod), patch)
    with pytest.raises(Conflict):
        await writer.patch_merge(path_of(pod), patch)


async def test_json_patch_whose_test_fails_is_invalid(writer: Writer, pod: Pod) -> None:
    good = [{"op": "test", "path": "/metadata/labels/app", "value": "test"}]
    await writer.patch_json(path_of(pod), good)
    with pytest.raises(Invalid):
        await writer.patch_json(path_of(pod), [good[0] | {"value": "other"}])


async def test_binding_wants_the_right_uid_and_happens_once(writer: Writer, namespace: str, pod: Pod) -> None:
    gates = {"spec": {"schedulingGates": None}}
    await writer.patch_merge(path_of(pod), gates)
    await writer.create("/api/v1/nodes", {"metadata": {"name": f"node-{namespace}"}})
    node = f"node-{namespace}"
    with pytest.raises(Conflict):
        await writer.bind_pod(namespace, "pod", "00000000-0000-0000-0000-000000000000", node)
    await writer.bind_pod(namespace, "pod", pod.metadata.uid, node, {"example.com/slot": "3"})
    bound = await writer.get(path_of(pod), Pod)
    assert bound.spec.node_name == node
    assert bound.metadata.annotations["example.com/slot"] == "3"
    with pytest.raises(Conflict):
        await writer.bind_pod(namespace, "pod", pod.metadata.uid, node)


async def test_delete_meets_this_very_object_only(writer: Writer, pod: Pod) -> None:
    with pytest.raises(Conflict):
        await writer.delete(path_of(pod), uid="00000000-0000-0000-0000-000000000000")
    with pytest.raises(Conflict):
        await writer.delete(path_of(pod), resource_version="1")
    await writer.delete(path_of(pod), uid=pod.metadata.uid, grace=0)
    with pytest.raises(NotFound):
        await writer.get(path_of(pod), Pod)


async def test_disruption_budget_makes_an_eviction_wait(writer: Writer, namespace: str, pod: Pod) -> None:
    budget = {
        "metadata": {"name": "budget"},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "test"}}},
    }
    await writer.create(f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets", budget)
    await _run(writer, namespace, pod)
    with pytest.raises(TooManyRequests):
        await writer.evict_pod(namespace, "pod", pod.metadata.uid)
    await writer.delete(f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/budget")
    with pytest.raises(Conflict):
        await writer.evict_pod(namespace, "pod", "00000000-0000-0000-0000-000000000000")
    await writer.evict_pod(namespace, "pod", pod.metadata.uid, grace=0)


async def _run(writer: Writer, namespace: str, pod: Pod) -> None:
    """Budgets protect running pods only."""
    await writer.patch_merge(path_of(pod), {"spec": {"schedulingGates": None}})
    node = f"node-{namespace}"
    await writer.create("/api/v1/nodes", {"metadata": {"name": node}})
    await writer.bind_pod(namespace, "pod", pod.metadata.uid, node)
    await writer.patch_merge(f"{path_of(pod)}/status", {"status": {"phase": "Running"}})


async def test_names_that_need_quoting_stay_inside_their_path(writer: Writer, namespace: str) -> None:
    with pytest.raises(NotFound):
        await writer.get(PODS.object_path(namespace, "../../nodes"), Pod)


async def test_same_name_twice_already_exists(writer: Writer, namespace: str, pod: Pod) -> None:
    manifest = {"metadata": {"name": "pod"}, "spec": {"containers": [CONTAINER]}}
    with pytest.raises(AlreadyExists):
        await writer.create(PODS.in_namespace(namespace).collection, manifest)


async def test_recorded_event_is_accepted_by_the_api_server(session: ApiSession, writer: Writer, pod: Pod) -> None:
    recorder = EventRecorder(writer, "muster-tester")
    about = Reference(
        api_version="v1",
        kind="Pod",
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        uid=pod.metadata.uid,
    )
    recorder.record(about, EventType.NORMAL, "Waiting", "2 of 3 members are there")
    posting = asyncio.create_task(recorder.run())
    try:
        while not recorder.posted:
            await asyncio.sleep(0.01)
            assert not recorder.dropped
    finally:
        posting.cancel()
    found = msgspec.json.decode(await session.list(EVENTS.in_namespace(pod.metadata.namespace).collection))
    assert [item["message"] for item in found["items"]] == ["2 of 3 members are there"]
