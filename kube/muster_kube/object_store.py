"""A local copy of one resource, and the callbacks that hear of every change to it in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, TypeVar

from muster_kube.wire import KubernetesObject

Key = tuple[str, str]
"""Namespace (empty for cluster-scoped objects) and name."""

T = TypeVar("T", bound=KubernetesObject)


@dataclass(frozen=True, slots=True)
class Handlers(Generic[T]):
    """Called on the event loop, in order, after the store has changed; they must not block it."""

    added: Callable[[T], None] | None = None
    updated: Callable[[T, T], None] | None = None
    deleted: Callable[[T], None] | None = None


def key_of(object_: KubernetesObject) -> Key:
    metadata = object_.metadata
    return metadata.namespace, metadata.name


class ObjectStore(Generic[T]):
    """The newest known state by key. An object made anew under an old name is a deletion and an addition."""

    def __init__(self) -> None:
        self._objects: dict[Key, T] = {}
        self._handlers: list[Handlers[T]] = []
        self.view: Mapping[Key, T] = MappingProxyType(self._objects)

    def subscribe(self, handlers: Handlers[T]) -> None:
        """Hears of everything from now on, and of what is there already as added."""
        self._handlers.append(handlers)
        if handlers.added is not None:
            for known in list(self._objects.values()):
                handlers.added(known)

    def put(self, new: T) -> None:
        """The object exists like this now."""
        key = key_of(new)
        old = self._objects.get(key)
        if old is not None and old.metadata.uid != new.metadata.uid:
            self.remove(key, old)
            old = None
        self._objects[key] = new
        if old is None:
            self._tell_added(new)
        elif old.metadata.resource_version != new.metadata.resource_version:
            self._tell_updated(old, new)

    def remove(self, key: Key, last: T | None = None) -> None:
        """The object is gone; `last` is its final state where known. Unknown keys are no news."""
        old = self._objects.pop(key, None)
        if old is None:
            return
        final = old if last is None else last
        for handlers in self._handlers:
            if handlers.deleted is not None:
                handlers.deleted(final)

    def replace(self, fresh: Mapping[Key, T]) -> Iterator[None]:
        """Turns the store into `fresh`, one object a step, telling only what differs: deletions first.

        The dict stays the same one, so whoever holds the view never looks at a store of yesterday.
        """
        for key in [key for key in self._objects if key not in fresh]:
            self.remove(key)
            yield
        for new in fresh.values():
            self.put(new)
            yield

    def _tell_added(self, new: T) -> None:
        for handlers in self._handlers:
            if handlers.added is not None:
                handlers.added(new)

    def _tell_updated(self, old: T, new: T) -> None:
        for handlers in self._handlers:
            if handlers.updated is not None:
                handlers.updated(old, new)
