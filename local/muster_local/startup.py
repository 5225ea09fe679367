"""The order in which an instance comes up: foundation, objects, clients, services, webhooks, nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import yaml

from muster_local import bootstrap, nodes
from muster_local import instance as records
from muster_local.api_client import ApiClient
from muster_local.components import (
    CLIENTS,
    FOUNDATION,
    SERVICES,
    STORE_USERS,
    STORES,
    Component,
    component_of,
    is_process_node,
)
from muster_local.credentials import ADMIN, ensure_static_tokens, write_certificate_kubeconfig
from muster_local.errors import LocalError
from muster_local.instance import Instance
from muster_local.kwok import kwok_config
from muster_local.launcher import await_launched, is_available, launch, runs
from muster_local.layout import StateLayout
from muster_local.manifests import cluster_objects, manifest_root, scheduler_config
from muster_local.pki import ensure_node_certificates, ensure_pki, node_client
from muster_local.progress import Progress
from muster_local.scheduler_config import local_scheduler_config
from muster_local.secure_files import write_private
from muster_local.stores.schema import prepare_schema
from muster_local.stores.urls import write_url
from muster_local.token_issuer import ensure_issuer
from muster_local.webhooks import await_trust, install_webhooks

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
        self._start_stores(overrides)
        self._step("etcd and kube-apiserver", FOUNDATION, overrides)
        client = ApiClient.from_kubeconfig(self._layout.kubeconfig(ADMIN))
        try:
            self._populate(client, overrides)
        finally:
            client.close()

    def _start_stores(self, overrides: Overrides) -> None:
        options = self._instance.options
        for store in STORES:
            if options.stores and options.store_url(store):
                write_url(self._layout.stores, store, options.store_url(store))
        self._step("postgres and redis", STORES, overrides)
        if options.stores:
            self._progress.step("schema of the queue", self._prepare_schema)

    def _prepare_schema(self) -> None:
        is_ours = not self._instance.options.store_url(Component.POSTGRES)
        prepare_schema(self._layout.stores, STORE_USERS, is_ours=is_ours)

    def _populate(self, client: ApiClient, overrides: Overrides) -> None:
        bootstrap.apply_local_rbac(client)
        self._launch(CLIENTS, overrides)
        documents = cluster_objects(manifest_root()) if self._instance.options.muster else []
        if documents:
            self._progress.step("manifests", lambda: bootstrap.apply_objects(client, documents))
        if self._is_wanted(Component.WEBHOOK):
            install_webhooks(client, documents, self._instance.url(Component.WEBHOOK))
        self._step("kube-controller-manager, kube-scheduler and kwok", CLIENTS, overrides)
        if self._instance.options.wants(Component.CONTROLLER_MANAGER):
            bootstrap.await_default_service_account(client)
        for service in SERVICES:
            if self._instance.options.wants(service) and not is_available(service):
                self._progress.note(f"{service}: not part of this installation, left out")
        self._step("Muster's services", SERVICES, overrides)
        if runs(Component.WEBHOOK, self._instance):
            await_trust(client, documents)
        self._add_nodes(client)
        self._start_process_nodes(client, overrides)

    def _start_process_nodes(self, client: ApiClient, overrides: Overrides) -> None:
        wanted = self._instance.options.process_node_names
        nodes.remove_process_nodes_except(client, self._kept_process_nodes())
        if not wanted:
            return

        def start() -> None:
            for name in wanted:
                if not runs(name, self._instance):
                    self._launch_one(name, overrides.get(name))
            for name in wanted:
                await_launched(name, self._instance, self._layout)

        self._progress.step(f"{len(wanted)} process nodes", start)

    def _kept_process_nodes(self) -> set[str]:
        further = {name for name in self._instance.processes if is_process_node(name) and runs(name, self._instance)}
        return further | set(self._instance.options.process_node_names)

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

    def start_one(self, name: str, overrides: Mapping[str, str] | None) -> None:
        """Starts one component, even one that the options leave out; the API server need not be well."""
        if runs(name, self._instance):
            raise LocalError(f"{name} runs already")
        component = component_of(name)
        if not is_available(component):
            raise LocalError(f"{name} is not part of this installation")
        if component in STORES and self._instance.options.store_url(component):
            raise LocalError(f"{name} is run by somebody else: its address was given to `muster local up`")
        if component in SERVICES and not self._layout.kubeconfig(component).exists():
            self._mint_credentials(component)
        if component is Component.WEBHOOK and not self._instance.options.wants(component):
            self._install_webhooks_late()
        if component is Component.API:
            self._check_stores()
        self._launch_one(name, overrides)
        await_launched(name, self._instance, self._layout)

    def _check_stores(self) -> None:
        if not self._instance.options.stores:
            raise LocalError("the api needs Postgres and Redis: start with `muster local up --stores`")

    def _install_webhooks_late(self) -> None:
        """Only now does admission have somebody to ask: this instance came up without the webhook."""
        client = ApiClient.from_kubeconfig(self._layout.kubeconfig(ADMIN))
        try:
            documents = cluster_objects(manifest_root())
            install_webhooks(client, documents, self._instance.url(Component.WEBHOOK))
        finally:
            client.close()

    def _step(self, title: str, components: Sequence[Component], overrides: Overrides) -> None:
        wanted = [component for component in components if self._is_wanted(component)]
        if wanted:
            self._progress.step(title, lambda: self._launch_and_await(wanted, overrides))

    def _launch_and_await(self, components: Sequence[Component], overrides: Overrides) -> None:
        self._launch(components, overrides)
        # One after the other: they start side by side all the same, and the first one that fails ends the wait.
        for component in components:
            await_launched(component, self._instance, self._layout)

    def _launch(self, components: Sequence[Component], overrides: Overrides) -> None:
        for component in components:
            if self._is_wanted(component) and not runs(component, self._instance):
                if component in SERVICES:
                    self._mint_credentials(component)
                self._launch_one(component, overrides.get(component))

    def _launch_one(self, name: str, overrides: Mapping[str, str] | None) -> None:
        if component_of(name) is Component.API:
            ensure_issuer(self._layout)
        if is_process_node(name):
            ensure_node_certificates(self._layout, name)
            server = self._instance.url(Component.API_SERVER)
            write_certificate_kubeconfig(self._layout, name, node_client(name), server)
        launch(name, self._instance, self._layout, overrides)
        # At once: whoever kills this command now must still be able to end what it has started.
        records.save(self._layout, self._instance)

    def _is_wanted(self, component: Component) -> bool:
        return self._instance.options.wants(component) and is_available(component)

    def _mint_credentials(self, component: Component) -> None:
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
