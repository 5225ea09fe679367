"""Reads the extender's own metrics, for what no watch shows."""

from __future__ import annotations

import re
import urllib.request

from muster_local.cluster import Cluster

FILTER_CALLS = r"muster_extender_filter_total{[^}]*}"


def read_metrics(cluster: Cluster) -> str:
    with urllib.request.urlopen(f"{cluster.url('extender')}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def filter_calls(cluster: Cluster) -> int:
    """How many filter calls this extender process has answered."""
    return _sum(read_metrics(cluster), FILTER_CALLS)


def _sum(text: str, pattern: str) -> int:
    found = re.findall(rf"^{pattern} ([0-9.e+]+)$", text, re.MULTILINE)
    assert found, f"no metric like {pattern}"
    return int(sum(float(value) for value in found))
