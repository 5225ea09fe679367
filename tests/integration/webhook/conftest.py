"""A control plane of its own: these tests take its webhook away, rotate its certificate and change its classes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bones.control_plane import Kubectl
    from bones.kube import Kube
    from muster_local.cluster import Cluster

NOT_NEEDED = ("kube-scheduler", "kwok", "extender", "controller")

OpenNamespace = Callable[..., str]
Service = Callable[[str], "Kube"]


@pytest.fixture(scope="package")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """etcd, API server, controller manager and the webhook."""
    from bones.control_plane import start_cluster

    running = start_cluster(tmp_path_factory.mktemp("admission"), nodes=0, without=NOT_NEEDED)
    yield running
    running.down()


@pytest.fixture(scope="package")
def client(plane: Cluster) -> Iterator[Kube]:
    from bones.kube import Kube

    made = Kube(plane.kubeconfig())
    yield made
    made.close()


@pytest.fixture(scope="package")
def user(plane: Cluster) -> Kubectl:
    """What a person types; an administrator, so that only admission can refuse."""
    from bones.control_plane import Kubectl

    return Kubectl(plane)


@pytest.fixture(scope="package")
def service(plane: Cluster, user: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Clients that act as one of Muster's own accounts, by its name."""
    import yaml

    from bones.kube import Kube

    made: list[Kube] = []

    def act_as(account: str) -> Kube:
        config = yaml.safe_load(plane.kubeconfig().read_text())
        token = user("create", "token", account, "-n", "muster-system").strip()
        for entry in config["users"]:
            entry["user"] = {"token": token}
        path = tmp_path_factory.mktemp(account) / "kubeconfig.yaml"
        path.write_text(yaml.safe_dump(config))
        made.append(Kube(path))
        return made[-1]

    yield act_as
    for each in made:
        each.close()


@pytest.fixture(scope="package")
def open_namespace(client: Kube) -> OpenNamespace:
    """Makes namespaces, managed unless told otherwise; they go away with the control plane."""
    from bones.builders import make_namespace

    def make(*, managed: bool = True) -> str:
        name = f"ns-{uuid.uuid4().hex[:8]}"
        client.create(make_namespace(name, managed=managed))
        client.wait_for("serviceaccounts", lambda items: "default" in items, namespace=name)
        return name

    return make


@pytest.fixture
def managed(open_namespace: OpenNamespace) -> str:
    return open_namespace()


@pytest.fixture
def unmanaged(open_namespace: OpenNamespace) -> str:
    return open_namespace(managed=False)
