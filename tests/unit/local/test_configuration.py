"""The configuration files made for one instance from those that are shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from muster_local.kwok import kwok_config
from muster_local.manifests import (
    cluster_objects,
    manifest_root,
    other_objects,
    scheduler_config,
    webhook_configurations,
)
from muster_local.nodes import NodeShape, node_object
from muster_local.scheduler_config import local_scheduler_config
from muster_local.webhooks import with_address

KUBECONFIG = Path("/state/scheduler.yaml")


def test_both_extender_entries_point_at_the_local_extender() -> None:
    shipped = scheduler_config(manifest_root())
    config = local_scheduler_config(shipped, KUBECONFIG, "http://127.0.0.1:20008")
    assert [extender["urlPrefix"] for extender in config["extenders"]] == ["http://127.0.0.1:20008"] * 2
    assert config["clientConnection"]["kubeconfig"] == str(KUBECONFIG)
    assert config["leaderElection"] == {"leaderElect": False}
    same = ("percentageOfNodesToScore", "podMaxBackoffSeconds")
    assert all(config[key] == shipped[key] for key in same)


def test_the_baseline_differs_in_the_extender_alone() -> None:
    shipped = scheduler_config(manifest_root())
    ours = local_scheduler_config(shipped, KUBECONFIG, "http://127.0.0.1:20008")
    stock = local_scheduler_config(shipped, KUBECONFIG, None)
    assert ours.keys() - stock.keys() == {"extenders"}
    assert all(ours[key] == value for key, value in stock.items())


def stage_names(config: str) -> list[str]:
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(config))
    return [document["metadata"]["name"] for document in documents if document["kind"] == "Stage"]


def test_bare_means_that_nobody_reports_pods_as_running() -> None:
    assert stage_names(kwok_config(bare=False)) == ["node-ready", "pod-complete", "pod-delete", "pod-ready"]
    assert stage_names(kwok_config(bare=True)) == ["node-ready", "pod-delete"]


def test_manifests_arrive_in_an_order_that_the_api_server_can_take() -> None:
    documents = cluster_objects(manifest_root())
    kinds = [document["kind"] for document in other_objects(documents)]
    assert kinds.index("Namespace") < kinds.index("CustomResourceDefinition") < kinds.index("ServiceAccount")
    assert not any("Webhook" in kind or kind.startswith("KubeScheduler") for kind in kinds)


def test_webhooks_are_asked_at_the_local_address_under_their_own_path() -> None:
    for configuration in webhook_configurations(cluster_objects(manifest_root())):
        local = with_address(configuration, "https://127.0.0.1:20007")
        for shipped, webhook in zip(configuration["webhooks"], local["webhooks"], strict=True):
            path = shipped["clientConfig"]["service"]["path"]
            assert webhook["clientConfig"] == {"url": f"https://127.0.0.1:20007{path}"}
            assert webhook["rules"] == shipped["rules"]


def test_a_rack_lies_in_one_zone() -> None:
    labels = [node_object(f"n-{i}", i, NodeShape(zones=2, racks=4))["metadata"]["labels"] for i in range(8)]
    placed = {(label["topology.kubernetes.io/rack"], label["topology.kubernetes.io/zone"]) for label in labels}
    assert placed == {
        ("rack-0", "zone-0"),
        ("rack-1", "zone-1"),
        ("rack-2", "zone-0"),
        ("rack-3", "zone-1"),
    }


def test_a_simulated_node_offers_what_was_asked_for() -> None:
    shape = NodeShape(cpu="8", memory="16Gi", gpus=0, labels={"a": "b"}, taints=[{"key": "t", "effect": "NoSchedule"}])
    node = node_object("cpu-0", 0, shape)
    assert node["status"]["allocatable"] == {"cpu": "8", "memory": "16Gi", "pods": "1000"}
    assert node["metadata"]["labels"]["a"] == "b"
    assert node["spec"]["taints"] == [{"key": "t", "effect": "NoSchedule"}]
