"""The order in which an instance comes up: foundation, objects, clients, services, webhooks, nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import yaml

from muster_local import bootstrap, nodes
from muster_local.api_client import ApiClient
from muster_local.components import CLIENTS, FOUNDATION, SERVICES, Component, component_of
from muster_local.credentials import ADMIN, ensure_static_tokens
from muster_local.errors import LocalError
from muster_local.instance import Instance
from muster_local.kwok import kwok_config
from muster_local.launcher import await_launched, is_available, launch, runs
from muster_local.layout import StateLayout
from muster_local.manifests import cluster_objects, manifest_root, scheduler_config
from muster_local.pki import ensure_pki
from muster_local.progress import Progress
from muster_local.scheduler_config import local_scheduler_config
from muster_local.secure_files import write_private
from muster_local.webhooks import install_webhooks

Overrides = Mapping[str, Mapping[str, str]]


class Startup:
    """One start of one instance."""

    def __init__(self, layout: StateLayout, instance: Instance, progress: Progress) -> None:
        self._layout = layout
        self._instance = instance
        self._progress = progress

    def run(self, overrides: Overrides) -> None:
        """Brings up everything that the options ask for and that does not run yet."""
        self._write_configuration()
        self._step("etcd and kube-apiserver", FOUNDATION, overrides)
        client = ApiClient.from_kubeconfig(self._layout.kubeconfig(ADMIN))
        try:
            self._populate(client, overrides)
        finally:
            client.close()

    def _populate(self, client: ApiClient, overrides: Overrides) -> None:
        bootstrap.apply_local_rbac(client)
        self._launch(CLIENTS, overrides)
        if self._instance.options.muster:
            documents = cluster_objects(manifest_root())
            self._progress.step("manifests", lambda: bootstrap.apply_objects(client, documents))
        self._step("kube-controller-manager, kube-scheduler and kwok", CLIENTS, overrides)
        if self._instance.options.wants(Component.CONTROLLER_MANAGER):
            bootstrap.await_default_service_account(client)
        self._step("webhook, extender and controller", SERVICES, overrides)
        if runs(Component.WEBHOOK, self._instance):
            install_webhooks(client, self._instance)
        self._add_nodes(client)

    def _add_nodes(self, client: ApiClient) -> None:
        options = self._instance.options
        if not options.nodes:
            return
        shape = nodes.NodeShape(
            cpu=options.cpu,
            memory=options.memory,
            gpus=options.gpus,
            pods=options.pods,
            zones=options.zones,
            racks=options.racks,
        )
        self._progress.step(
            f"{options.nodes} simulated nodes",
            lambda: nodes.add_nodes(client, options.nodes, shape, nodes.DEFAULT_PREFIX),
        )

    def start_one(self, name: str, env: Mapping[str, str] | None) -> None:
        """Starts one component of an instance whose API server may or may not be up."""
        if runs(name, self._instance):
            raise LocalError(f"{name} runs already")
        component = component_of(name)
        if not is_available(component):
            raise LocalError(f"{name} is not part of this installation")
        self._write_configuration()
        self._launch([name], {name: env or {}})
        await_launched(name, self._instance, self._layout)
        if component is Component.WEBHOOK:
            self._reinstall_webhooks()

    def _reinstall_webhooks(self) -> None:
        client = ApiClient.from_kubeconfig(self._layout.kubeconfig(ADMIN))
        try:
            install_webhooks(client, self._instance)
        finally:
            client.close()

    def _step(self, title: str, names: Sequence[str], overrides: Overrides) -> None:
        wanted = self._wanted(names)
        if wanted:
            self._progress.step(title, lambda: self._launch_and_await(wanted, overrides))

    def _launch_and_await(self, names: Sequence[str], overrides: Overrides) -> None:
        self._launch(names, overrides)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda name: await_launched(name, self._instance, self._layout), names))

    def _launch(self, names: Sequence[str], overrides: Overrides) -> None:
        for name in self._wanted(names):
            if not runs(name, self._instance):
                self._ensure_credentials(name)
                launch(name, self._instance, self._layout, overrides.get(name))

    def _wanted(self, names: Sequence[str]) -> list[str]:
        wanted = []
        for name in names:
            component = component_of(name)
            if not is_available(component):
                self._progress.note(f"{name}: not part of this installation, left out")
            elif self._instance.options.wants(component):
                wanted.append(name)
        return wanted

    def _ensure_credentials(self, name: str) -> None:
        component = component_of(name)
        if component not in SERVICES or not runs(Component.API_SERVER, self._instance):
            return
        client = ApiClient.from_kubeconfig(self._layout.kubeconfig(ADMIN))
        try:
            server = self._instance.url(Component.API_SERVER)
            bootstrap.mint_service_credentials(client, self._layout, component, server)
        finally:
            client.close()

    def _write_configuration(self) -> None:
        """Everything that the processes read from files; made anew each time, from the same keys and ports."""
        layout, instance = self._layout, self._instance
        ensure_pki(layout)
        ensure_static_tokens(layout, instance.url(Component.API_SERVER))
        write_private(layout.config / "kwok.yaml", kwok_config(bare=instance.options.bare))
        # Named even when it is not started: without its extender the scheduler must refuse GPU pods.
        extender = instance.url(Component.EXTENDER) if instance.options.muster else None
        config = local_scheduler_config(
            scheduler_config(manifest_root()), layout.kubeconfig(Component.SCHEDULER), extender
        )
        write_private(layout.config / "kube-scheduler.yaml", yaml.safe_dump(config, sort_keys=False))
