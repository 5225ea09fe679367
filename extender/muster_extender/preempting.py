"""Vetoes preemption of single members: the scheduler knows no gangs and would take one pod out of the middle."""

from __future__ import annotations

from collections.abc import Mapping

from muster_extender.protocol import MetaVictims
from muster_extender.state import ClusterState


def allowed_victims(candidates: Mapping[str, MetaVictims], state: ClusterState) -> dict[str, MetaVictims]:
    """The nodes on which no victim is Muster's.

    A node without victims is dropped as well: kube-scheduler takes it for an error in the answer.
    """
    return {
        node: victims
        for node, victims in candidates.items()
        if victims.pods and not any(_is_protected(pod.uid, state) for pod in victims.pods)
    }


def _is_protected(uid: str, state: ClusterState) -> bool:
    """Pods that are not known here yet are protected: a later try will know them."""
    record = state.pods.get(uid)
    return record is None or (record.is_candidate and record.namespace in state.managed)
