"""Hand-made histories for the judge's own tests: a few words a step, numbered in the API server's order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from judge.records import (
    History,
    gang_record,
    namespace_record,
    node_record,
    pod_record,
)
from judge.verdict import Verdict, judge_history

P = "aiplatform.example.com/"
LIMIT = 70.0


def ticket(slot: int = 0, *, node: str = "n1", epoch: str = "1-1", gang: str = "aaaa") -> str:
    return f"v1.{gang}.{epoch}.{slot}.{node}.mac"


class Story:
    """Steps of one gang `pods-g` in the managed namespace `ns`, each a resourceVersion and a second later."""

    def __init__(self) -> None:
        self.history: list[History] = []
        self.version = 100
        self.seconds = 0.0
        self._tell(namespace_record, "LISTED", {"metadata": {"name": "ns", "labels": {f"{P}managed": "true"}}})

    def node(self, name: str = "n1", gpus: int = 8, event: str = "ADDED") -> Story:
        item = {"metadata": {"name": name}, "status": {"allocatable": {"nvidia.com/gpu": str(gpus)}}}
        return self._tell(node_record, event, item)

    def gang(self, phase: str, epoch: str = "1-1", **changes: Any) -> Story:
        """An event of the Gang; a plan of two slots on n1 from Reserved on."""
        plan = [] if phase in ("Pending", "Failed") else [{"node": "n1", "slots": "0-1", "shape": "x"}]
        item = {
            "metadata": {"namespace": "ns", "name": "pods-g", "uid": changes.pop("uid", "gang-uid")},
            "spec": {"id": changes.pop("identity", "aaaa"), "members": 2, "minMembers": changes.pop("minimum", 2)},
            "status": {"phase": phase, "epoch": epoch, "plan": plan, **changes},
        }
        return self._tell(gang_record, "MODIFIED", item)

    def gang_gone(self) -> Story:
        item = {"metadata": {"namespace": "ns", "name": "pods-g", "uid": "gang-uid"}, "spec": {}}
        return self._tell(gang_record, "DELETED", item)

    def pod(self, name: str, event: str = "MODIFIED", **changes: Any) -> Story:
        """An event of a member; gated, unreleased and unbound unless told otherwise."""
        gang = changes.pop("gang", "g")
        metadata: dict[str, Any] = {
            "namespace": changes.pop("namespace", "ns"),
            "name": name,
            "uid": changes.pop("uid", f"uid-{name}"),
            "labels": ({f"{P}gang": gang} if gang else {}) | changes.pop("labels", {}),
            "annotations": changes.pop("annotations", {}),
        }
        if release := changes.pop("release", ""):
            metadata["annotations"] = metadata["annotations"] | {f"{P}release": release}
        if changes.pop("deleting", False):
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        gates = changes.pop("gates", [] if release else [f"{P}gang"])
        container = {"name": "main", "resources": {"requests": {"nvidia.com/gpu": str(changes.pop("gpus", 1))}}}
        spec = {"containers": [container], "schedulingGates": [{"name": gate} for gate in gates]}
        if node := changes.pop("node", ""):
            spec["nodeName"] = node
        status = {"phase": changes.pop("phase", "Pending")}
        assert not changes, changes
        return self._tell(pod_record, event, {"metadata": metadata, "spec": spec, "status": status})

    def released(self, epoch: str = "1-1") -> Story:
        """The gang up to both members ticketed, nobody bound."""
        self.node().gang("Pending", epoch)
        for name in ("a", "b"):
            self.pod(name, "ADDED")
        self.gang("Reserved", epoch)
        for slot, name in enumerate(("a", "b")):
            self.pod(name, release=ticket(slot, epoch=epoch))
        return self.gang("Released", epoch)

    def bind(self, name: str, slot: int, **changes: Any) -> Story:
        return self.pod(name, release=changes.pop("release", ticket(slot)), node=changes.pop("node", "n1"), **changes)

    def running(self) -> Story:
        """A flawless gang from its creation to Running."""
        return self.released().gang("Committed").bind("a", 0).bind("b", 1).gang("Running", bound=2)

    def wait(self, seconds: float) -> Story:
        self.seconds += seconds
        return self

    def verdict(self, **options: Any) -> Verdict:
        return judge_history(self.history, partial_limit=LIMIT, end=self.seconds, **options)

    def rules(self, **options: Any) -> set[str]:
        """The names of the rules that were broken."""
        return {violation.rule for violation in self.verdict(**options).violations}

    def _tell(self, record: Callable[[str, float, dict[str, Any]], History], event: str, item: dict[str, Any]) -> Story:
        self.version += 1
        self.seconds += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        self.history.append(record(event, self.seconds, item))
        return self
