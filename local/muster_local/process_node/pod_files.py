"""Brings a pod's folder into being and keeps its volumes fresh."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime
from pathlib import Path

from muster_local.process_node import environment, volumes
from muster_local.process_node.attempts import TERMINATION_LOG
from muster_local.process_node.catalog import Token
from muster_local.process_node.context import NodeContext
from muster_local.process_node.environment import ConfigurationError, Sources
from muster_local.process_node.folders import PodRecord
from muster_local.process_node.images import ImageEntry
from muster_local.process_node.launching import Surroundings, compose_launch
from muster_local.process_node.objects import Container, Pod
from muster_local.process_node.supervisor.launch import Launch


class PodFiles:
    """The folder of one pod. `prepare` may be called again and again; it changes only what has changed."""

    def __init__(self, context: NodeContext, pod: Pod, address: str | None) -> None:
        self.address = address or context.addresses.take()
        self._context = context
        self._folder = context.folders.pod(pod.uid)
        self._tokens: dict[tuple[str, str], Token] = {}
        self._folder.make(PodRecord(pod.metadata.namespace, pod.metadata.name, pod.uid, self.address))
        context.host_files.register(pod, self.address, self._folder.hosts)

    def remove(self, pod: Pod) -> None:
        """Everything of the pod but what lies in claims and checkpoints."""
        self._context.host_files.forget(pod.uid)
        self._folder.remove()
        self._context.addresses.give_back(self.address)

    async def prepare(self, pod: Pod) -> None:
        """Reads what volumes are made of and writes it; raises ConfigurationError for what is not there yet."""
        sources = await self._sources(pod, *volumes.object_names(pod))
        await self._renew_tokens(pod)
        tokens = {key: token.data for key, token in self._tokens.items()}
        contents = [(volume, volumes.volume_files(pod, volume, sources, tokens)) for volume in pod.spec.volumes]
        for volume, files in contents:
            if volume.persistent_volume_claim is not None:
                claim = volume.persistent_volume_claim.claim_name
                self._context.folders.claim(pod.metadata.namespace, claim).mkdir(parents=True, exist_ok=True)
            elif files is not None:
                await asyncio.to_thread(volumes.write_files, self._folder.volume(volume.name), files)
            else:
                self._folder.volume(volume.name).mkdir(parents=True, exist_ok=True)

    async def _sources(self, pod: Pod, config_maps: set[str], secrets: set[str]) -> Sources:
        namespace = pod.metadata.namespace
        return Sources(
            config_maps=await self._context.catalog.config_maps(namespace, config_maps),
            secrets=await self._context.catalog.secrets(namespace, secrets),
            address=self.address,
            host_address=self._context.host_address,
            allocatable=self._context.allocatable,
        )

    async def _renew_tokens(self, pod: Pod) -> None:
        now = self._context.clock.now()
        for volume in pod.spec.volumes:
            for source in volume.projected.sources if volume.projected is not None else ():
                wanted = source.service_account_token
                if wanted is None or not _is_due(self._tokens.get((volume.name, wanted.path)), now):
                    continue
                self._tokens[volume.name, wanted.path] = await self._context.catalog.token(pod, wanted, now)

    async def launch(self, pod: Pod, container: Container, entry: ImageEntry, attempt: Path) -> Launch:
        """How the next run of a container is started, with what its environment refers to read anew."""
        sources = await self._sources(pod, *environment.object_names(pod, container))
        variables = environment.container_variables(pod, container, sources)
        termination_log = make_termination_log(attempt)
        around = Surroundings(
            folders=self._context.folders,
            isolation=self._context.isolation,
            api_server=self._context.api_server,
            termination_log=termination_log,
            is_root=os.geteuid() == 0,
        )
        try:
            return compose_launch(pod, container, entry, variables, around)
        except OSError as error:
            raise ConfigurationError(str(error)) from error


def make_termination_log(attempt: Path) -> Path:
    """An empty file for the container's last words."""
    attempt.mkdir(parents=True, exist_ok=True)
    path = attempt / TERMINATION_LOG
    path.write_bytes(b"")
    return path


def _is_due(token: Token | None, now: datetime) -> bool:
    return token is None or now >= token.renew_at
