"""Lists and watches as they come over the wire, decoded no further than needed to pass objects on."""

from __future__ import annotations

from typing import Final, Protocol, TypeVar

import msgspec

from muster_api.objects import ObjectMeta
from muster_kube.errors import KubeError

T = TypeVar("T")

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


class TooDeepError(KubeError):
    """An object with more levels than can be read; its neighbours are not to suffer for it."""


class MalformedAnswerError(KubeError):
    """What came over the wire is not what the API server sends; the connection is not to be trusted any further."""


_EVENT: Final = msgspec.json.Decoder(WatchEvent)
_HEAD: Final = msgspec.json.Decoder(Head)
_PAGE: Final = msgspec.json.Decoder(ListPage)


def decode_event(line: bytes) -> WatchEvent:
    return _decoded(_EVENT, line)


def decode_head(raw: msgspec.Raw) -> Head:
    return _decoded(_HEAD, raw)


def decode_page(body: bytes) -> ListPage:
    return _decoded(_PAGE, body)


def _decoded(decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw) -> T:
    # An error of its own: a subscriber may raise msgspec's for reasons that have nothing to do with the wire.
    try:
        return decoder.decode(data)
    except msgspec.DecodeError as error:
        raise MalformedAnswerError(str(error)) from error
    except RecursionError:
        raise TooDeepError("more levels of JSON than can be read") from None


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
