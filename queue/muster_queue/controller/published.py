"""Which addresses of jobs are published by now, as the reflectors and the answers to own writes tell it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from muster_api.jobs import AIJob
from muster_api.names import SERVICE_NAME_LABEL, job_gang_name
from muster_api.objects import EndpointSlice, Service
from muster_queue.controller.groups import GroupKey

Name = tuple[str, str]


class Published:
    """One writer: the event loop. `heard` is told whose Service or slices have changed."""

    def __init__(self) -> None:
        self.heard: Callable[[GroupKey], None] = lambda key: None
        self._services: dict[GroupKey, Service] = {}
        self._slices: dict[GroupKey, dict[str, EndpointSlice]] = {}
        self._keys: dict[Name, GroupKey] = {}

    def slices(self, key: GroupKey) -> Mapping[str, EndpointSlice]:
        """What is published for this job, by name."""
        return self._slices.get(key, {})

    def jobs(self) -> Iterator[GroupKey]:
        """The jobs that anything is published for."""
        return iter(tuple(self._slices))

    def is_ours_to_fill(self, job: AIJob) -> bool:
        """Whether the job's Service is there, is its own, and has its addresses from nobody else.

        Kubernetes fills a Service with a selector by itself, as it does for those that earlier versions made.
        """
        service = self._services.get(_key(job.metadata.namespace, job.metadata.name))
        owner = service.metadata.controller_owner if service is not None else None
        return service is not None and not service.spec.selector and owner is not None and owner.uid == job.metadata.uid

    def see_service(self, service: Service) -> None:
        key = _key(service.metadata.namespace, service.metadata.name)
        self._services[key] = service
        self.heard(key)

    def lose_service(self, service: Service) -> None:
        key = _key(service.metadata.namespace, service.metadata.name)
        if self._services.pop(key, None) is not None:
            self.heard(key)

    def see_slice(self, slice_: EndpointSlice) -> None:
        """From the watch, a quorum read or the answer to an own write; an older state changes nothing."""
        metadata = slice_.metadata
        name = metadata.namespace, metadata.name
        before, key = self._keys.get(name), job_of(slice_)
        known = self._slices[before].get(metadata.name) if before is not None else None
        if known is not None and not _is_newer(slice_, known):
            return
        if before is not None and before != key:
            self._drop(name, before)
        if key is not None:
            self._keys[name] = key
            self._slices.setdefault(key, {})[metadata.name] = slice_
            self.heard(key)

    def lose_slice(self, slice_: EndpointSlice) -> None:
        """It is gone, if it is the one that is known."""
        name = slice_.metadata.namespace, slice_.metadata.name
        key = self._keys.get(name)
        if key is not None and self._slices[key][name[1]].metadata.uid == slice_.metadata.uid:
            self._drop(name, key)

    def _drop(self, name: Name, key: GroupKey) -> None:
        del self._keys[name]
        del self._slices[key][name[1]]
        if not self._slices[key]:
            del self._slices[key]
        self.heard(key)


def job_of(slice_: EndpointSlice) -> GroupKey | None:
    """The job that it was made for: its owner, and where somebody has taken that away, what its label says."""
    metadata = slice_.metadata
    owner = metadata.controller_owner
    if owner is not None:
        return _key(metadata.namespace, owner.name) if owner.kind == "AIJob" else None
    label = metadata.labels.get(SERVICE_NAME_LABEL)
    return _key(metadata.namespace, label) if label else None


def _key(namespace: str, job: str) -> GroupKey:
    return namespace, job_gang_name(job)


def _is_newer(slice_: EndpointSlice, known: EndpointSlice) -> bool:
    new, old = slice_.metadata.resource_version, known.metadata.resource_version
    return int(new) > int(old) if new.isdigit() and old.isdigit() else new != old
