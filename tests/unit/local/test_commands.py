"""What is started, with which rights and which environment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from muster_local.binaries import PROGRAMS
from muster_local.commands import command_for
from muster_local.components import START_ORDER, STORES, component_of
from muster_local.errors import LocalError
from muster_local.instance import Instance, new_instance
from muster_local.launcher import ensure_port, process_environment
from muster_local.layout import StateLayout
from muster_local.options import ClusterOptions, with_changes

LAYOUT = StateLayout(Path("/state"))


@pytest.fixture
def instance() -> Instance:
    made = new_instance(ClusterOptions(), 20_000)
    made.binaries = {program: f"/bin/{program}" for program in PROGRAMS}
    return made


def test_every_component_has_a_command(instance: Instance) -> None:
    commands = {str(name): command_for(name, instance, LAYOUT) for name in START_ORDER if name not in STORES}
    assert commands["controller"] == [sys.executable, "-m", "muster_queue", "controller"]
    assert commands["etcd"][0] == "/bin/etcd"
    assert len({port for port in instance.ports.values()}) == len(instance.ports)


def test_the_api_server_knows_everybody_and_trusts_nobody_else(instance: Instance) -> None:
    flags = command_for("kube-apiserver", instance, LAYOUT)
    assert "--anonymous-auth=false" in flags
    assert "--authorization-mode=Node,RBAC" in flags
    assert "--enable-priority-and-fairness=false" in flags


def test_a_replica_gets_a_port_of_its_own_and_shares_the_account(instance: Instance) -> None:
    ensure_port("controller@2", instance)
    environment = process_environment("controller@2", instance, LAYOUT)
    assert environment["MUSTER_LISTEN_PORT"] == "20010"
    assert environment["KUBECONFIG"] == "/state/kubeconfigs/controller.yaml"
    assert command_for("controller@2", instance, LAYOUT) == command_for("controller", instance, LAYOUT)


def test_failpoints_of_the_callers_shell_reach_no_process(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_FAILPOINTS", "extender.park=kill")
    assert "MUSTER_FAILPOINTS" not in process_environment("extender", instance, LAYOUT)


@pytest.mark.parametrize(
    "name", ["", "nix", "etcd@2", "controller@", "controller@x", "controller@2@3", "process-node", "process-node-01"]
)
def test_names_that_name_nothing(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}|is not a valid Component$"):
        component_of(name)


def test_options_are_checked_with_what_would_be_accepted() -> None:
    changed = with_changes(ClusterOptions(), {"nodes": 7, "gpus": None, "without": ["kwok"]})
    assert (changed.nodes, changed.gpus, changed.without) == (7, 8, ("kwok",))
    for wrong in ({"node": 3}, {"without": ["kvok"]}, {"nodes": -1}, {"zones": 0}):
        with pytest.raises(LocalError):
            with_changes(ClusterOptions(), wrong)


def test_the_stock_scheduler_runs_without_our_services() -> None:
    options = with_changes(ClusterOptions(), {"muster": False})
    left_out = [name for name in START_ORDER if not options.wants(name) and name not in STORES]
    assert left_out == ["webhook", "extender", "controller", "api"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"stores": True}, ["postgres", "redis"]),
        ({"stores": True, "redis_url": "rediss://elsewhere"}, ["postgres"]),
        ({"stores": True, "without": ["postgres"]}, ["redis"]),
    ],
)
def test_stores_run_when_asked_for_and_not_elsewhere(changes: dict[str, object], expected: list[str]) -> None:
    options = with_changes(ClusterOptions(), changes)
    assert [name for name in STORES if options.wants(name)] == expected


@pytest.mark.parametrize("url", ["mysql://muster:hush@host/db", "hush", "http://[hush"])
def test_an_address_that_is_none_is_refused_without_being_told(url: str) -> None:
    with pytest.raises(LocalError, match="postgresql://") as caught:
        with_changes(ClusterOptions(), {"postgres_url": url})
    assert "hush" not in str(caught.value)


def test_process_nodes_are_components_with_numbers(instance: Instance) -> None:
    instance.options = with_changes(instance.options, {"process_nodes": 2, "process_cpu": "4"})
    assert instance.options.process_node_names == ["process-node-0", "process-node-1"]
    ensure_port("process-node-1", instance)
    command = command_for("process-node-1", instance, LAYOUT)
    assert command == [sys.executable, "-m", "muster_local.process_node"]
    environment = process_environment("process-node-1", instance, LAYOUT)
    assert environment["MUSTER_NODE_NAME"] == "process-node-1"
    assert environment["MUSTER_NODE_CPU"] == "4"
    assert environment["KUBECONFIG"] == "/state/kubeconfigs/process-node-1.yaml"
    for wrong in ({"process_nodes": 99}, {"process_cpu": "much"}, {"images": "/no/such/file"}):
        with pytest.raises(LocalError):
            with_changes(ClusterOptions(), wrong)


def test_simulated_nodes_renew_slowly_unless_process_nodes_are_there(instance: Instance) -> None:
    assert "--node-monitor-grace-period=300s" in command_for("kube-controller-manager", instance, LAYOUT)
    assert "--node-lease-duration-seconds=240" in command_for("kwok", instance, LAYOUT)
    instance.options = with_changes(instance.options, {"process_nodes": 1})
    assert "--node-monitor-grace-period=40s" in command_for("kube-controller-manager", instance, LAYOUT)
    assert "--node-lease-duration-seconds=32" in command_for("kwok", instance, LAYOUT)
