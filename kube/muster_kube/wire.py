"""Lists and watches as they come over the wire, decoded no further than needed to pass objects on."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec
from muster_api.objects import ObjectMeta

INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"


class KubernetesObject(Protocol):
    """What a reflector needs to know of the structs it keeps."""

    @property
    def metadata(self) -> ObjectMeta: ...


class WatchEvent(msgspec.Struct, frozen=True, gc=False):
    """One line of a watch; the object stays undecoded."""

    type: str
    object: msgspec.Raw


class Head(msgspec.Struct, frozen=True, gc=False):
    """An object of which nothing but the metadata is wanted: a bookmark, or one that did not decode."""

    metadata: ObjectMeta = ObjectMeta()


class ListMeta(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class ListPage(msgspec.Struct, frozen=True, gc=False):
    """One page of a list; items stay undecoded so that a bad one spoils nothing but itself."""

    metadata: ListMeta = ListMeta()
    items: tuple[msgspec.Raw, ...] = ()


decode_event: Final = msgspec.json.Decoder(WatchEvent).decode
decode_head: Final = msgspec.json.Decoder(Head).decode
decode_page: Final = msgspec.json.Decoder(ListPage).decode


class LineSplitter:
    """Cuts a byte stream into lines; what is left of an unfinished one waits for its rest."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completes, without their line ends."""
        if b"\n" not in chunk:
            self._rest.append(chunk)
            return []
        self._rest.append(chunk)
        *lines, rest = b"".join(self._rest).split(b"\n")
        self._rest = [rest] if rest else []
        return [line for line in lines if line]
