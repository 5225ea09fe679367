"""The configuration of KWOK: our stages, and none that plays kubelet when only binding is measured."""

from __future__ import annotations

from pathlib import Path

import yaml

STAGES = Path(__file__).resolve().parent / "stages"
# Without these two nobody reports pods as running: "bare".
_KUBELET_STAGES = ("pod-ready", "pod-complete")
_PARALLEL_WRITES = 16


def kwok_config(*, bare: bool) -> str:
    """One YAML stream: KWOK's options and the stages it plays."""
    options = {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokConfiguration",
        "metadata": {"name": "kwok"},
        "options": {
            "podPlayStageParallelism": _PARALLEL_WRITES,
            "nodePlayStageParallelism": _PARALLEL_WRITES,
            "nodeLeaseParallelism": _PARALLEL_WRITES,
            "enablePodsOnNodeSyncStreamWatch": True,
        },
    }
    left_out = _KUBELET_STAGES if bare else ()
    stages = [path.read_text() for path in sorted(STAGES.glob("*.yaml")) if path.stem not in left_out]
    return "---\n".join([yaml.safe_dump(options), *stages])
