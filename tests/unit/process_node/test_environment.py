"""Variables, commands and images of containers."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bones.process_world import pod, sources
from muster_local.errors import LocalError
from muster_local.process_node.environment import (
    ConfigurationError,
    container_variables,
    expand,
    field_value,
    object_names,
    resource_value,
)
from muster_local.process_node.folders import NodeFolders
from muster_local.process_node.images import ImageEntry, command_line, default_table, read_table, repository
from muster_local.process_node.launching import Surroundings, compose_launch
from muster_local.process_node.limits import not_honoured
from muster_local.process_node.objects import Pod, ResourceFieldSelector
from muster_local.process_node.supervisor.launch import Isolation

HOST = ImageEntry(image="muster-host")
JOB_UID = "705ab4f5-6393-11e8-b7cc-42010a800002"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("$(A)", "1"),
        ("$$(A)", "$(A)"),
        ("$(B)", "$(B)"),
        ("$A", "$A"),
        ("a$(A)b$(A)", "a1b1"),
        ("$(", "$("),
        ("$$$(A)", "$1"),
    ],
)
def test_references_are_replaced_as_kubernetes_does(text: str, wanted: str) -> None:
    assert expand(text, {"A": "1"}) == wanted


def variables(own: Pod, **data: Any) -> dict[str, str]:
    return container_variables(own, own.spec.containers[0], sources(**data))


def test_later_variables_win_and_see_earlier_ones() -> None:
    own = pod(
        {
            "envFrom": [{"configMapRef": {"name": "c"}, "prefix": "P_"}],
            "env": [{"name": "X", "value": "$(P_A)!"}, {"name": "P_A", "value": "mine"}],
        }
    )
    assert variables(own, config_maps={"c": {"A": b"1", "bad name": b"2"}}) == {"X": "1!", "P_A": "mine"}


def test_what_is_missing_is_named_unless_it_is_optional() -> None:
    reference = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    with pytest.raises(ConfigurationError, match='secret "s" not found'):
        variables(pod({"env": [reference]}), secrets={"s": None})
    with pytest.raises(ConfigurationError, match="find key k"):
        variables(pod({"env": [reference]}), secrets={"s": {}})
    reference["valueFrom"]["secretKeyRef"]["optional"] = True
    assert variables(pod({"env": [reference]}), secrets={"s": None}) == {}
    with pytest.raises(ConfigurationError, match="configmap"):
        variables(pod({"envFrom": [{"configMapRef": {"name": "c"}}]}), config_maps={"c": None})


def test_fields_of_the_pod() -> None:
    own = pod(metadata={"labels": {"b": "2", "a": '1"'}, "annotations": {"x/y": "z"}})
    read = {path: field_value(own, path, sources()) for path in ("metadata.name", "status.podIP", "spec.nodeName")}
    assert read == {"metadata.name": "p", "status.podIP": "127.64.0.1", "spec.nodeName": "process-node-0"}
    assert field_value(own, "metadata.annotations['x/y']", sources()) == "z"
    assert field_value(own, "metadata.labels", sources()) == 'a="1\\""\nb="2"\n'
    with pytest.raises(ConfigurationError, match="fieldPath"):
        field_value(own, "spec.nothing", sources())


@pytest.mark.parametrize(
    ("resource", "divisor", "wanted"),
    [
        ("limits.cpu", "1", "2"),
        ("limits.cpu", "1m", "1500"),
        ("requests.memory", "1Mi", "64"),
        ("limits.memory", "1Gi", "16"),
        ("requests.cpu", "0", "0"),
    ],
)
def test_resources_are_rounded_up_to_the_divisor(resource: str, divisor: str, wanted: str) -> None:
    own = pod({"resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "64Mi"}}})
    selector = ResourceFieldSelector(resource=resource, divisor=divisor)
    assert resource_value(own, selector, sources(), own.spec.containers[0]) == wanted


def test_only_what_the_container_refers_to_is_read() -> None:
    own = pod(
        {
            "envFrom": [{"secretRef": {"name": "s1"}}],
            "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c1", "key": "k"}}}],
        }
    )
    assert object_names(own, own.spec.containers[0]) == ({"c1"}, {"s1"})


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("muster-worker", "muster-worker"),
        ("registry.example:5000/team/muster-worker:v1@sha256:abc", "registry.example:5000/team/muster-worker"),
        ("python:3.11", "python"),
    ],
)
def test_an_image_is_known_by_its_name(image: str, name: str) -> None:
    assert repository(image) == name


def test_the_table_knows_our_worker_and_the_examples() -> None:
    table = default_table(Path("/venv"))
    for image in ("muster-worker:dev", "registry.example/x/muster-worker", "pytorch-inference:v1.0", "pytorch-ddp"):
        entry = table.find(image)
        assert entry is not None
        assert entry.command == ("muster-worker", "run")
        assert entry.path[0] == "/venv/bin"
    assert table.find("nginx") is None


def test_own_entries_come_first_and_mistakes_are_explained(tmp_path: Path) -> None:
    file = tmp_path / "images.yaml"
    file.write_text("images:\n- image: example/*\n  path: [/opt/bin]\n  command: [serve]\n- image: python\n")
    table = read_table(file)
    assert table.find("example/model:2") == ImageEntry(image="example/*", path=("/opt/bin",), command=("serve",))
    assert table.find("python:3") == ImageEntry(image="python")
    file.write_text("images:\n- name: x\n")
    with pytest.raises(LocalError, match="not a table of images"):
        read_table(file)
    with pytest.raises(LocalError, match="cannot be read"):
        read_table(tmp_path / "none")


def test_a_command_replaces_the_entry_point_and_args_follow_it() -> None:
    entry = ImageEntry(image="x", command=("serve",))
    assert command_line(entry, [], ["--fast"]) == ["serve", "--fast"]
    assert command_line(entry, ["train"], ["--fast"]) == ["train", "--fast"]


def surroundings(folder: Path, isolation: Isolation = Isolation.ROOT, *, is_root: bool = True) -> Surroundings:
    return Surroundings(
        folders=NodeFolders(folder, "process-node-0"),
        isolation=isolation,
        api_server=("127.0.0.1", 6443),
        termination_log=folder / "last",
        is_root=is_root,
    )


def of_job(**changes: Any) -> dict[str, Any]:
    """The metadata of a job's pod."""
    owner = {
        "apiVersion": "aiplatform.example.com/v1alpha1",
        "kind": "AIJob",
        "name": "j",
        "uid": JOB_UID,
        "controller": True,
    }
    return {"labels": {"aiplatform.example.com/job": "j"}, "ownerReferences": [owner | changes]}


def test_a_launch_has_what_the_pod_says_over_what_the_node_gives(tmp_path: Path) -> None:
    own = pod(
        {"command": ["run", "$(MODEL)"], "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "a"}]},
        volumes=[{"name": "v", "emptyDir": {}}],
        metadata=of_job(),
    )
    launch = compose_launch(
        own, own.spec.containers[0], HOST, {"MODEL": "m", "GLOO_SOCKET_IFNAME": "x"}, surroundings(tmp_path)
    )
    assert launch.argv == ["run", "m"]
    assert launch.environment["GLOO_SOCKET_IFNAME"] == "x"
    assert launch.environment["KUBERNETES_SERVICE_PORT"] == "6443"
    assert launch.environment["MUSTER_CHECKPOINT_DIR"] == str(tmp_path / "checkpoints" / "team" / JOB_UID)
    targets = {mount.target: mount for mount in launch.mounts}
    assert set(targets) == {"/etc/hosts", "/dev/termination-log", "/v"}
    assert targets["/v"].source.endswith("/volumes/v/a")
    assert not targets["/v"].read_only


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param(of_job(uid="/tmp/x"), id="a path"),
        pytest.param(of_job(uid=f"../other/{JOB_UID}"), id="a way out"),
        pytest.param(of_job(uid=f"{{{JOB_UID}}}"), id="nearly a UUID"),
        pytest.param(of_job(kind="Job"), id="another kind"),
        pytest.param(of_job(apiVersion="example.com/v1"), id="another group"),
        pytest.param(of_job(controller=False), id="an owner that is not in charge"),
        pytest.param({"labels": {"aiplatform.example.com/job": "j"}}, id="nobody"),
    ],
)
def test_only_a_job_has_a_folder_for_checkpoints(tmp_path: Path, metadata: dict[str, Any]) -> None:
    """Whoever creates a pod writes its owners, and the API server does not ask what their uids look like."""
    own = pod({"command": ["x"]}, metadata=metadata)
    launch = compose_launch(own, own.spec.containers[0], HOST, {}, surroundings(tmp_path / "state"))
    assert "MUSTER_CHECKPOINT_DIR" not in launch.environment
    assert not (tmp_path / "state" / "checkpoints").exists()
    assert any(words.startswith("MUSTER_CHECKPOINT_DIR") for words in not_honoured(own, Isolation.ROOT))


def test_a_pod_of_no_job_misses_no_folder_for_checkpoints() -> None:
    assert not_honoured(pod(), Isolation.ROOT) == not_honoured(pod(metadata=of_job()), Isolation.ROOT)


def test_without_isolation_nothing_is_mounted_and_that_is_said(tmp_path: Path) -> None:
    own = pod({"command": ["x"], "workingDir": "/no/such/folder"})
    around = surroundings(tmp_path, Isolation.NONE)
    launch = compose_launch(own, own.spec.containers[0], HOST, {}, around)
    assert launch.mounts == []
    assert Path(launch.working_directory).is_dir()
    assert launch.environment["MUSTER_TERMINATION_LOG"] == str(around.termination_log)
    assert any("mount namespace" in words for words in not_honoured(own, Isolation.NONE))


@pytest.mark.parametrize(
    ("of_pod", "of_container", "is_refused"),
    [({}, {}, False), ({"runAsNonRoot": True}, {}, True), ({}, {"runAsNonRoot": True, "runAsUser": 1000}, True),
     ({"runAsNonRoot": True}, {"runAsNonRoot": False}, False)],
)  # fmt: skip
def test_who_must_not_be_root_is_not_started_as_root(
    tmp_path: Path, of_pod: dict[str, Any], of_container: dict[str, Any], *, is_refused: bool
) -> None:
    own = pod({"command": ["x"], "securityContext": of_container}, securityContext=of_pod)
    start = partial(compose_launch, own, own.spec.containers[0], HOST, {})
    assert start(surroundings(tmp_path, is_root=False)).argv == ["x"]
    if is_refused:
        with pytest.raises(ConfigurationError, match="container has runAsNonRoot and would run as root"):
            start(surroundings(tmp_path))
    else:
        assert start(surroundings(tmp_path)).argv == ["x"]


def test_a_subpath_may_not_leave_its_volume(tmp_path: Path) -> None:
    mount = {"name": "v", "mountPath": "/v", "subPath": "../.."}
    own = pod({"command": ["x"], "volumeMounts": [mount]}, volumes=[{"name": "v", "emptyDir": {}}])
    with pytest.raises(ConfigurationError, match="leads out"):
        compose_launch(own, own.spec.containers[0], HOST, {}, surroundings(tmp_path))


def test_an_image_without_a_command_needs_one(tmp_path: Path) -> None:
    own = pod()
    with pytest.raises(ConfigurationError, match="no command"):
        compose_launch(own, own.spec.containers[0], HOST, {}, surroundings(tmp_path))


def test_limits_are_told_by_name() -> None:
    own = pod(
        {"resources": {"limits": {"cpu": "1", "nvidia.com/gpu": "1"}}, "securityContext": {"privileged": True}},
        hostNetwork=True,
        volumes=[{"name": "machine", "hostPath": {"path": "/"}}, {"name": "fine", "emptyDir": {}}],
    )
    words = not_honoured(own, Isolation.ROOT)
    assert words[:2] == ["image contents", "hostNetwork"]
    assert {"limits of cpu and memory (main)", "devices (main)", "securityContext (main)"} <= set(words)
    assert not any("fine" in each for each in words)
