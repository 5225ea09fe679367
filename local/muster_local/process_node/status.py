"""A pod's status as its node reports it, and whether it says anything new; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from muster_kube.clock import rfc3339
from muster_local.process_node.decisions import Attempt, ContainerView, Decision, Exit, Views, Waiting
from muster_local.process_node.objects import Container, Pod

Status = dict[str, Any]

CONTAINER_SCHEME = "muster-process"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the pod runs: its own address and its node's."""

    address: str
    host_address: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why the whole pod ended, where its containers do not say so themselves."""

    reason: str
    message: str


def pod_status(
    pod: Pod, views: Views, decision: Decision, place: Place, now: datetime, verdict: Verdict | None = None
) -> Status:
    """Everything of the status that the node owns."""
    moment = rfc3339(now)
    status: Status = {
        "phase": decision.phase,
        "hostIP": place.host_address,
        "hostIPs": [{"ip": place.host_address}],
        "podIP": place.address,
        "podIPs": [{"ip": place.address}],
        "qosClass": pod.status.get("qosClass"),
        "startTime": pod.status.get("startTime") or moment,
        "reason": verdict.reason if verdict else None,
        "message": verdict.message if verdict else None,
        "containerStatuses": _container_statuses(pod, pod.spec.containers, views, decision),
    }
    if pod.spec.init_containers:
        status["initContainerStatuses"] = _container_statuses(pod, pod.spec.init_containers, views, decision)
    status["conditions"] = _conditions(pod, views, decision, moment)
    return status


def _container_statuses(pod: Pod, containers: Sequence[Container], views: Views, decision: Decision) -> list[Status]:
    return [
        _container_status(pod, container, views[container.name], decision.waiting.get(container.name))
        for container in containers
    ]


def _container_status(pod: Pod, container: Container, view: ContainerView, waiting: Waiting | None) -> Status:
    attempt = view.attempt
    status: Status = {
        "name": container.name,
        "image": container.image,
        "imageID": "",
        "ready": _is_ready(container, view, pod),
        "started": view.is_running and view.is_started,
        "restartCount": attempt.number if attempt is not None else 0,
        "state": _state(pod, container, view, waiting),
    }
    if attempt is not None:
        status["containerID"] = _container_id(pod, container, attempt.number)
    previous = view.exit if "waiting" in status["state"] and view.exit is not None else view.previous
    if previous is not None:
        status["lastState"] = _terminated(previous)
    return status


def _is_ready(container: Container, view: ContainerView, pod: Pod) -> bool:
    if view.is_running:
        return view.is_ready
    is_finished_init = container in pod.spec.init_containers and view.exit is not None and view.exit.code == 0
    return is_finished_init and not container.is_sidecar


def _container_id(pod: Pod, container: Container, number: int) -> str:
    return f"{CONTAINER_SCHEME}://{pod.uid}/{container.name}/{number}"


def _state(pod: Pod, container: Container, view: ContainerView, waiting: Waiting | None) -> Status:
    attempt = view.attempt
    if view.is_running and attempt is not None:
        return {"running": {"startedAt": _started(attempt)}}
    if waiting is not None or attempt is None or attempt.exit is None:
        reason, message = waiting or ("ContainerCreating", "")
        return {"waiting": {"reason": reason} | ({"message": message} if message else {})}
    state = _terminated(attempt.exit)
    state["terminated"]["containerID"] = _container_id(pod, container, attempt.number)
    return state


def _started(attempt: Attempt) -> str | None:
    return rfc3339(attempt.started_at) if attempt.started_at is not None else None


def _terminated(exit_: Exit) -> Status:
    state: Status = {
        "exitCode": exit_.code,
        "reason": exit_.reason,
        "startedAt": rfc3339(exit_.started_at),
        "finishedAt": rfc3339(exit_.finished_at),
    }
    if exit_.message:
        state["message"] = exit_.message
    if exit_.signal:
        state["signal"] = exit_.signal
    return {"terminated": state}


def _conditions(pod: Pod, views: Views, decision: Decision, moment: str) -> list[Status]:
    containers = _containers_ready(pod, views, decision)
    ready = containers
    missing = [gate.condition_type for gate in pod.spec.readiness_gates if not _holds(pod, gate.condition_type)]
    if containers[0] and missing:
        ready = (False, "ReadinessGatesNotReady", f"the status of pod readiness gates is not True: {missing}")
    found = {
        "PodReadyToStartContainers": (decision.phase not in ("Succeeded", "Failed"), "", ""),
        "Initialized": _initialized(pod, views, decision),
        "Ready": ready,
        "ContainersReady": containers,
    }
    return [_condition(pod, kind, *words, moment) for kind, words in found.items()]


def _holds(pod: Pod, kind: str) -> bool:
    conditions: list[Status] = pod.status.get("conditions") or []
    return any(entry["type"] == kind and entry["status"] == "True" for entry in conditions)


def _containers_ready(pod: Pod, views: Views, decision: Decision) -> tuple[bool, str, str]:
    if decision.phase == "Succeeded":
        return False, "PodCompleted", ""
    if decision.phase == "Failed":
        return False, "PodFailed", ""
    unready = [entry.name for entry in pod.spec.containers if not _is_ready(entry, views[entry.name], pod)]
    if unready:
        return False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return True, "", ""


def _initialized(pod: Pod, views: Views, decision: Decision) -> tuple[bool, str, str]:
    if decision.is_initialized or decision.phase == "Succeeded":
        return True, "PodCompleted" if decision.phase == "Succeeded" else "", ""
    pending = [entry.name for entry in pod.spec.init_containers if not _is_ready(entry, views[entry.name], pod)]
    return False, "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(pending)}]"


def _condition(pod: Pod, kind: str, holds: bool, reason: str, message: str, moment: str) -> Status:
    status = "True" if holds else "False"
    conditions: list[Status] = pod.status.get("conditions") or []
    known = next((entry for entry in conditions if entry["type"] == kind), None)
    same = known is not None and known["status"] == status
    since = known.get("lastTransitionTime") if same and known is not None else moment
    return {
        "type": kind,
        "status": status,
        "reason": reason or None,
        "message": message or None,
        "lastTransitionTime": since,
    }


def says_something_new(wanted: Status, observed: Mapping[str, Any]) -> bool:
    """Whether patching `wanted` into the observed status would change it."""
    return not _covers(observed, wanted)


def _covers(observed: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        if wanted and not isinstance(observed, Mapping):
            return all(value is None for value in wanted.values())
        return all(_covers(observed.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return _covers_list(observed or [], wanted)
    return bool(observed == wanted)


def _covers_list(observed: list[Any], wanted: list[Any]) -> bool:
    if wanted and isinstance(wanted[0], dict) and "type" in wanted[0]:
        # Conditions: others may have their own.
        by_type = {entry["type"]: entry for entry in observed}
        return all(_covers(by_type.get(entry["type"]), entry) for entry in wanted)
    return len(observed) == len(wanted) and all(map(_covers, observed, wanted))
