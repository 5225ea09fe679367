"""A one-machine control plane as an object: started, stopped, broken and asked by tests, demo and command line."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from filelock import FileLock

from muster_local import instance as records
from muster_local import nodes
from muster_local.api_client import ApiClient
from muster_local.binaries import find_binaries
from muster_local.components import START_ORDER, STOP_WAVES, Component, component_of
from muster_local.errors import InstanceMissingError, LocalError
from muster_local.instance import Instance, state_layout
from muster_local.launcher import runs
from muster_local.layout import cache_dir, default_state_dir
from muster_local.options import ClusterOptions, with_changes
from muster_local.ports import block_is_free, claim_block, release_block
from muster_local.process_node.cleanup import end_all_pods
from muster_local.processes import (
    ProcessRecord,
    await_gone,
    end,
    family,
    is_running,
    send_signal,
    send_signal_to_all,
)
from muster_local.progress import Progress
from muster_local.readiness import log_tail
from muster_local.startup import Startup
from muster_local.status import ClusterStatus, read_status
from muster_local.stores.finding import missing_stores
from muster_local.stores.homes import remove_postgres_home
from muster_local.stores.urls import read_url

_GRACE_SECONDS = 5.0


class Cluster:
    """One instance, identified by its state folder; every method may be called from another process as well."""

    def __init__(self, state_dir: Path | str | None = None, *, progress: Progress | None = None) -> None:
        self.layout = state_layout(state_dir or default_state_dir())
        self._progress = progress or Progress(quiet=True)
        self._client: ApiClient | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down()

    # -- life of the whole instance

    def up(self, *, env: Mapping[str, Mapping[str, str]] | None = None, **options: Any) -> None:
        """Starts whatever does not run yet and returns when all of it is ready.

        `options` are the fields of ClusterOptions, remembered for later starts; `env` maps a component to
        variables for this start only.
        """
        binaries = find_binaries(self._progress)
        self.layout.make()
        with self._locked():
            instance = self._prepare(options, binaries)
            before = dict(instance.processes)
            try:
                Startup(self.layout, instance, self._progress).run(env or {})
            except BaseException:
                end([new for name, new in instance.processes.items() if before.get(name) != new], 1.0)
                raise
            finally:
                records.save(self.layout, instance)

    def _prepare(self, changes: dict[str, Any], binaries: dict[str, str]) -> Instance:
        existing = records.load_or_none(self.layout)
        options = self._decided(with_changes(existing.options if existing else ClusterOptions(), changes))
        is_up = existing is not None and any(map(is_running, existing.processes.values()))
        if existing is not None and is_up and existing.options != options:
            raise LocalError("it runs with other options; end it first with `muster local down`")
        instance = existing or records.new_instance(options, self._claim_ports())
        if not is_up and not block_is_free(instance.first_port):
            # Somebody else took them while this instance was down.
            instance.first_port = self._claim_ports()
            instance.ports = records.port_layout(instance.first_port)
        instance.options = options
        instance.binaries = binaries
        records.save(self.layout, instance)
        return instance

    def _decided(self, options: ClusterOptions) -> ClusterOptions:
        """With stores where this machine has them, unless somebody has chosen."""
        if options.stores is not None:
            return options
        missing = missing_stores() if options.muster else ""
        if missing:
            self._progress.note(f"no stores and no api: {missing}")
        return msgspec.structs.replace(options, stores=options.muster and not missing)

    def _claim_ports(self) -> int:
        return claim_block(self.layout.root, cache_dir() / "ports")

    def down(self, *, purge: bool = False) -> None:
        """Ends every process of the instance; `purge` removes its state as well."""
        self.close()
        if not self.layout.instance_file.exists():
            return
        with self._locked():
            instance = records.load(self.layout)
            for names in _stop_waves(instance):
                end([instance.processes[name] for name in names], _GRACE_SECONDS)
            # Containers outlive their process nodes, but not the instance.
            end_all_pods(self.layout.process_nodes, _GRACE_SECONDS)
            instance.processes.clear()
            records.save(self.layout, instance)
            if purge:
                release_block(instance.first_port, self.layout.root, cache_dir() / "ports")
        if purge:
            remove_postgres_home(self.layout.stores)
            self.layout.remove()

    def close(self) -> None:
        """Closes this object's own connections; the processes go on."""
        if self._client is not None:
            self._client.close()
            self._client = None

    # -- single components, and faults

    def start(self, name: str, env: Mapping[str, str] | None = None) -> None:
        """Starts one component, with variables for this start only, and returns when it is ready.

        "controller@2" starts a second controller with a port of its own.
        """
        self._check_name(name)
        with self._locked():
            instance = records.load(self.layout)
            try:
                Startup(self.layout, instance, self._progress).start_one(name, env)
            finally:
                records.save(self.layout, instance)

    def stop(self, name: str, *, grace_seconds: float = _GRACE_SECONDS) -> None:
        """Ends one component politely; it stays away until started."""
        self._check_name(name)
        record = self._instance().processes.get(name)
        if record is not None:
            end([record], grace_seconds)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Sends a signal, SIGKILL if none is named, and returns once a deadly one has worked."""
        record = self._running_record(name)
        members = family(record)
        send_signal(record, number)
        if number == signal.SIGKILL:
            self.await_exit(name)
            await_gone(members, _GRACE_SECONDS)

    def pause(self, name: str) -> None:
        """Stops a component in its tracks, watchdog included, as a frozen machine does."""
        send_signal_to_all(self._running_record(name), signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Lets a paused or hanging component go on."""
        send_signal_to_all(self._running_record(name), signal.SIGCONT)

    def hang(self, name: str) -> None:
        """Stops only the process that does the work: what watches over it may act."""
        family(self._running_record(name))[-1].suspend()

    def _running_record(self, name: str) -> ProcessRecord:
        self._check_name(name)
        record = self._instance().processes.get(name)
        if record is None or not is_running(record):
            raise LocalError(f"{name} is not running")
        return record

    def await_exit(self, name: str, seconds: float = 30.0) -> None:
        """Returns once the process has ended, by itself or not: a failpoint kills when it is reached."""
        deadline = time.monotonic() + seconds
        while self.is_running(name):
            if time.monotonic() > deadline:
                raise LocalError(f"{name} still runs after {seconds:.0f} s\n{log_tail(self.log_path(name))}")
            time.sleep(0.01)

    # -- questions

    def is_running(self, name: str) -> bool:
        """Whether the component's process is alive (paused counts as alive)."""
        return runs(name, self._instance())

    def pid(self, name: str) -> int:
        """The process id of a running component."""
        return self._running_record(name).pid

    def cpu_seconds(self, name: str) -> float:
        """The CPU time that a running component has used, its children's included."""
        times = [process.cpu_times() for process in family(self._running_record(name))]
        return float(sum(used.user + used.system for used in times))

    def url(self, name: str) -> str:
        """Where a component answers."""
        return self._instance().url(name)

    def store_url(self, name: str) -> str:
        """Where postgres or redis answers, with the password."""
        url = read_url(self.layout.stores, name)
        if url is None:
            raise LocalError(f"no {name} here; start with `muster local up --stores`")
        return url

    def status(self) -> ClusterStatus:
        """Which components run and how many nodes there are."""
        return read_status(self.layout, self._instance())

    def options(self) -> ClusterOptions:
        """The choices that this instance was started with."""
        return self._instance().options

    def kubeconfig(self, service: str = "admin") -> Path:
        """The kubeconfig of the operator, or of a service's own account."""
        path = self.layout.kubeconfig(service)
        if not path.exists():
            raise InstanceMissingError(f"{path} does not exist; start the control plane with `muster local up`")
        return path

    def log_path(self, name: str) -> Path:
        """The log of a component, kept over its restarts."""
        return self.layout.log(name)

    def binary(self, program: str) -> Path:
        """A program of this instance: kubectl, for one."""
        return Path(self._instance().binaries[program])

    @property
    def client(self) -> ApiClient:
        """A client with all rights."""
        if self._client is None:
            self._client = ApiClient.from_kubeconfig(self.kubeconfig())
        return self._client

    # -- simulated nodes

    def add_nodes(self, count: int, *, prefix: str = nodes.DEFAULT_PREFIX, **shape: Any) -> list[str]:
        """Adds simulated nodes prefix-0, prefix-1 ...; `shape` are the fields of NodeShape."""
        return nodes.add_nodes(self.client, count, nodes.NodeShape(**shape), prefix)

    def remove_nodes(self, names: Sequence[str]) -> None:
        """Deletes nodes; their pods are left to Kubernetes, as with a lost machine."""
        nodes.remove_nodes(self.client, names)

    def node_names(self) -> list[str]:
        """The simulated nodes."""
        return nodes.node_names(self.client)

    def cordon(self, name: str) -> None:
        nodes.set_unschedulable(self.client, name, True)

    def uncordon(self, name: str) -> None:
        nodes.set_unschedulable(self.client, name, False)

    def fail_node(self, name: str) -> None:
        """Lets a node report NotReady until `recover_node`."""
        nodes.set_ready(self.client, name, False)

    def recover_node(self, name: str) -> None:
        nodes.set_ready(self.client, name, True)

    # -- inside

    def _instance(self) -> Instance:
        return records.load(self.layout)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not self.layout.root.is_dir():
            raise InstanceMissingError(f"no control plane in {self.layout.root}; start one with `muster local up`")
        with FileLock(self.layout.lock_file):
            yield

    def _check_name(self, name: str) -> None:
        try:
            component_of(name)
        except ValueError:
            known = ", ".join((*START_ORDER, f"{Component.PROCESS_NODE}-0"))
            raise LocalError(f"no component {name!r}; known are {known}") from None


def _stop_waves(instance: Instance) -> list[list[str]]:
    """The recorded processes, those that use others before these, and etcd last."""
    return [[name for name in instance.processes if component_of(name) in wave] for wave in STOP_WAVES]
