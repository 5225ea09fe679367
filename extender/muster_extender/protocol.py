"""The extender protocol of kube-scheduler on the wire: PascalCase keys, null pointers, either case accepted.

The Go structs carry no JSON tags, so keys are field names and unused pointers arrive as null; Go reads keys in any
case, and so does this module.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from muster_api.objects import Pod


class ProtocolError(ValueError):
    """A request that kube-scheduler would not send; the message says what is wrong with it."""


class ExtenderArgs(msgspec.Struct, rename="pascal", frozen=True, gc=False):
    """Filter and prioritize: a pod and its candidates, of which `node_names` stays undecoded."""

    pod: Pod | None = None
    node_names: msgspec.Raw = msgspec.Raw()


class ExtenderBindingArgs(msgspec.Struct, frozen=True, gc=False):
    """Bind: the pod that the scheduler has assumed on this node."""

    pod_name: str = msgspec.field(name="PodName", default="")
    pod_namespace: str = msgspec.field(name="PodNamespace", default="")
    pod_uid: str = msgspec.field(name="PodUID", default="")
    node: str = msgspec.field(name="Node", default="")


class MetaPod(msgspec.Struct, frozen=True, gc=False):
    uid: str = msgspec.field(name="UID", default="")


class MetaVictims(msgspec.Struct, frozen=True, gc=False):
    """Whom preemption on one node would evict, by uid."""

    pods: tuple[MetaPod, ...] | None = msgspec.field(name="Pods", default=None)
    violations: int = msgspec.field(name="NumPDBViolations", default=0)


class Victims(msgspec.Struct, frozen=True, gc=False):
    """Whom preemption on one node would evict, as whole pods: sent when nodeCacheCapable is false."""

    pods: tuple[Pod, ...] | None = msgspec.field(name="Pods", default=None)
    violations: int = msgspec.field(name="NumPDBViolations", default=0)


class ExtenderPreemptionArgs(msgspec.Struct, rename="pascal", frozen=True, gc=False):
    pod: Pod | None = None
    node_name_to_victims: dict[str, Victims] | None = None
    node_name_to_meta_victims: dict[str, MetaVictims] | None = None

    def candidates(self) -> dict[str, MetaVictims]:
        """Node to victims in the short form, whichever form was sent."""
        if self.node_name_to_meta_victims is not None:
            return self.node_name_to_meta_victims
        return {
            node: MetaVictims(tuple(MetaPod(pod.metadata.uid) for pod in victims.pods or ()), victims.violations)
            for node, victims in (self.node_name_to_victims or {}).items()
        }


class ExtenderPreemptionResult(msgspec.Struct, rename="pascal", frozen=True, gc=False):
    node_name_to_meta_victims: dict[str, MetaVictims]


class HostPriority(msgspec.Struct, rename="pascal", frozen=True, gc=False):
    host: str
    score: int


A = TypeVar("A", ExtenderArgs, ExtenderBindingArgs, ExtenderPreemptionArgs)

_KEYS: Final = {
    key.lower(): key
    for key in (
        "Pod",
        "NodeNames",
        "PodName",
        "PodNamespace",
        "PodUID",
        "Node",
        "NodeNameToVictims",
        "NodeNameToMetaVictims",
    )
}
_ANY_KEYS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARGS: Final = msgspec.json.Decoder(ExtenderArgs)
_BINDING: Final = msgspec.json.Decoder(ExtenderBindingArgs)
_PREEMPTION: Final = msgspec.json.Decoder(ExtenderPreemptionArgs)

BIND_SUCCESS: Final = b'{"Error":""}'


def decode_args(body: bytes) -> ExtenderArgs:
    """Read a filter or prioritize call; raises ProtocolError."""
    args = _decode(_ARGS, body)
    return args if args.pod is not None else _decode_any_case(_ARGS, body)


def decode_binding(body: bytes) -> ExtenderBindingArgs:
    """Read a bind call; raises ProtocolError."""
    args = _decode(_BINDING, body)
    if not args.pod_uid:
        args = _decode_any_case(_BINDING, body)
    for name, value in (("PodName", args.pod_name), ("PodNamespace", args.pod_namespace), ("Node", args.node)):
        if not value:
            raise ProtocolError(f"{name} is missing or empty")
    if not args.pod_uid:
        raise ProtocolError("PodUID is missing or empty")
    return args


def decode_preemption(body: bytes) -> ExtenderPreemptionArgs:
    """Read a preempt call; raises ProtocolError."""
    args = _decode(_PREEMPTION, body)
    return args if args.pod is not None else _decode_any_case(_PREEMPTION, body)


def encode_binding_error(message: str) -> bytes:
    """A bind call's refusal: the scheduler puts the pod back into its queue."""
    return msgspec.json.encode({"Error": message})


def pod_of(args: ExtenderArgs | ExtenderPreemptionArgs) -> Pod:
    """The pod of a call; raises ProtocolError where it is null, missing or nameless."""
    if args.pod is None:
        raise ProtocolError("Pod is missing or null")
    if not args.pod.metadata.uid:
        raise ProtocolError("Pod.metadata.uid is missing")
    return args.pod


def _decode_any_case(decoder: msgspec.json.Decoder[A], body: bytes) -> A:
    """The slow way, for keys in another case than Go's field names."""
    try:
        sent = _ANY_KEYS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolError(f"not a JSON object: {error}") from error
    return _decode(decoder, msgspec.json.encode({_KEYS.get(key.lower(), key): value for key, value in sent.items()}))


def _decode(decoder: msgspec.json.Decoder[A], body: bytes) -> A:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"not what kube-scheduler sends: {error}") from error
