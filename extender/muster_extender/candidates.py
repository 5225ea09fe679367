"""The candidate nodes of one call, kept as the bytes they came in.

A thousand names cost a quarter of a millisecond to decode and to encode again, most of it for nothing: whether one
node is among them and "all of these failed because of X" can both be said by searching and replacing in the bytes.
"""

from __future__ import annotations

import string
from collections.abc import Collection
from typing import Final

import msgspec

from muster_extender.protocol import ProtocolError

_PLAIN: Final = (string.ascii_letters + string.digits + "-.").encode()
_NAMES: Final = msgspec.json.Decoder(list[str])


class Candidates:
    """Node names as kube-scheduler sent them; decoded only when each has to be looked at."""

    __slots__ = ("_is_plain", "_names", "_raw")

    def __init__(self, raw: msgspec.Raw) -> None:
        self._raw = bytes(raw)
        if self._raw in (b"", b"null"):
            raise ProtocolError("NodeNames is missing or null: set nodeCacheCapable: true")
        self._is_plain = _is_plain(self._raw)
        self._names: list[str] | None = None if self._is_plain else _decode(self._raw)

    @property
    def names(self) -> list[str]:
        if self._names is None:
            self._names = _decode(self._raw)
        return self._names

    def __contains__(self, node: str) -> bool:
        if self._is_plain:
            return f'"{node}"'.encode() in self._raw
        return node in self.names

    def refused(self, message: str, *, but: str | None = None) -> bytes:
        """A JSON object that gives every candidate this message, except the one that is accepted."""
        if not self._is_plain:
            return msgspec.json.encode({name: message for name in self.names if name != but})
        said = msgspec.json.encode(message)
        entries = self._raw[1:-1].replace(b'","', b'":' + said + b',"') + b":" + said
        if but is None:
            return b"{" + entries + b"}"
        return b"{" + _without(entries, f'"{but}":'.encode() + said) + b"}"


def filter_result(
    accepted: Collection[str], refused: bytes = b"{}", *, refusal_is_final: bool = True, error: str = ""
) -> bytes:
    """An ExtenderFilterResult; final refusals are of no use to preemption, and every candidate is in one list."""
    failed, unresolvable = (b"{}", refused) if refusal_is_final else (refused, b"{}")
    return b'{"Nodes":null,"NodeNames":%b,"FailedNodes":%b,"FailedAndUnresolvableNodes":%b,"Error":%b}' % (
        msgspec.json.encode(accepted),
        failed,
        unresolvable,
        msgspec.json.encode(error),
    )


def _is_plain(raw: bytes) -> bool:
    """Whether it is a compact array of names without anything to escape, as Go writes node names."""
    if not raw.startswith(b'["'):
        return False
    skeleton = raw.translate(None, _PLAIN)
    return skeleton == b'[""' + b',""' * ((len(skeleton) - 4) // 3) + b"]"


def _without(entries: bytes, entry: bytes) -> bytes:
    if entries.startswith(entry):
        return entries[len(entry) + 1 :]
    return entries.replace(b"," + entry, b"", 1)


def _decode(raw: bytes) -> list[str]:
    try:
        return _NAMES.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolError(f"NodeNames is no array of names: {error}") from error
