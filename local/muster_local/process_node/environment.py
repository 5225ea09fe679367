"""The environment variables of a container, as a kubelet would set them; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING
from typing import Final

from muster_api.quantities import parse_quantity
from muster_local.process_node.objects import (
    Container,
    Pod,
    ResourceFieldSelector,
    Variable,
    VariableSource,
    VariablesSource,
)

_REFERENCE: Final = re.compile(r"\$\$|\$\(([^()]+)\)")
_KEYED: Final = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_VARIABLE_NAME: Final = re.compile(r"[^=\x00-\x20]+")

Data = Mapping[str, Mapping[str, bytes] | None]
"""ConfigMaps or Secrets by name; None where there is none of that name."""


class ConfigurationError(Exception):
    """The pod cannot be started as it is written, or not yet; the text is for its user."""


class Sources:
    """Everything outside the pod's spec that its environment may refer to."""

    def __init__(
        self, *, config_maps: Data, secrets: Data, address: str, host_address: str, allocatable: Mapping[str, str]
    ) -> None:
        self.config_maps = config_maps
        self.secrets = secrets
        self.address = address
        self.host_address = host_address
        self.allocatable = allocatable


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replaces $(NAME) by its value; unknown names stay as they are, and $$ is one dollar sign."""

    def replacement(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return variables.get(match[1], match[0])

    return _REFERENCE.sub(replacement, text)


def container_variables(pod: Pod, container: Container, sources: Sources) -> dict[str, str]:
    """What envFrom and env say, later ones over earlier ones, each seeing those before it."""
    variables: dict[str, str] = {}
    for source in container.env_from:
        variables |= _whole(source, sources)
    for variable in container.env:
        value = _value(pod, container, variable, sources, variables)
        if value is not None:
            variables[variable.name] = value
    return variables


def _whole(source: VariablesSource, sources: Sources) -> dict[str, str]:
    if source.config_map_ref is not None:
        found, selector, kind = sources.config_maps.get(source.config_map_ref.name), source.config_map_ref, "configmap"
    elif source.secret_ref is not None:
        found, selector, kind = sources.secrets.get(source.secret_ref.name), source.secret_ref, "secret"
    else:
        return {}
    if found is None:
        if selector.optional:
            return {}
        raise ConfigurationError(f'{kind} "{selector.name}" not found')
    names = {f"{source.prefix}{key}": data.decode(errors="replace") for key, data in found.items()}
    return {name: value for name, value in names.items() if _VARIABLE_NAME.fullmatch(name)}


def _value(
    pod: Pod, container: Container, variable: Variable, sources: Sources, known: Mapping[str, str]
) -> str | None:
    if variable.value_from is None:
        return expand(variable.value, known)
    return _referred(pod, container, variable.value_from, sources)


def _referred(pod: Pod, container: Container, source: VariableSource, sources: Sources) -> str | None:
    if source.field_ref is not None:
        return field_value(pod, source.field_ref.field_path, sources)
    if source.resource_field_ref is not None:
        return resource_value(pod, source.resource_field_ref, sources, container)
    return _key_value(source, sources)


def _key_value(source: VariableSource, sources: Sources) -> str | None:
    if source.config_map_key_ref is not None:
        selector, data, kind = source.config_map_key_ref, sources.config_maps, "configmap"
    elif source.secret_key_ref is not None:
        selector, data, kind = source.secret_key_ref, sources.secrets, "secret"
    else:
        raise ConfigurationError("a variable has a valueFrom that process nodes do not know")
    found = data.get(selector.name)
    if found is not None and selector.key in found:
        return found[selector.key].decode(errors="replace")
    if selector.optional:
        return None
    if found is None:
        raise ConfigurationError(f'{kind} "{selector.name}" not found')
    raise ConfigurationError(f'couldn\'t find key {selector.key} in {kind} "{selector.name}"')


def field_value(pod: Pod, path: str, sources: Sources) -> str:
    """A field of the pod, by the paths that the downward API has."""
    if match := _KEYED.fullmatch(path):
        return _words(pod, match[1]).get(match[2], "")
    if path in ("metadata.labels", "metadata.annotations"):
        entries = _words(pod, path.rpartition(".")[2])
        return "".join(f'{key}="{_escaped(value)}"\n' for key, value in sorted(entries.items()))
    plain = {
        "metadata.name": pod.metadata.name,
        "metadata.namespace": pod.metadata.namespace,
        "metadata.uid": pod.uid,
        "spec.nodeName": pod.spec.node_name,
        "spec.serviceAccountName": pod.spec.service_account_name,
        "status.hostIP": sources.host_address,
        "status.hostIPs": sources.host_address,
        "status.podIP": sources.address,
        "status.podIPs": sources.address,
    }
    if path not in plain:
        raise ConfigurationError(f"unsupported fieldPath: {path}")
    return plain[path]


def _words(pod: Pod, name: str) -> Mapping[str, str]:
    """The pod's labels or annotations, by that word."""
    return pod.metadata.labels if name == "labels" else pod.metadata.annotations


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resource_value(
    pod: Pod, selector: ResourceFieldSelector, sources: Sources, container: Container | None = None
) -> str:
    """A request or limit of a container in units of the divisor, rounded up; without a limit what the node has."""
    if selector.container_name:
        named = [entry for entry in pod.all_containers if entry.name == selector.container_name]
        container = named[0] if named else None
    if container is None:
        raise ConfigurationError(f"no container {selector.container_name!r} to take {selector.resource} from")
    kind, _, resource = selector.resource.partition(".")
    given = container.resources.limits if kind == "limits" else container.resources.requests
    default = sources.allocatable.get(resource, "0") if kind == "limits" else "0"
    amount = parse_quantity(given.get(resource, default))
    divisor = parse_quantity(selector.divisor) or 1
    return str(int((amount / divisor).to_integral_value(ROUND_CEILING)))


def object_names(pod: Pod, container: Container) -> tuple[set[str], set[str]]:
    """The ConfigMaps and Secrets that the container's environment refers to."""
    config_maps, secrets = set(), set()
    for source in container.env_from:
        config_maps |= {source.config_map_ref.name} if source.config_map_ref else set()
        secrets |= {source.secret_ref.name} if source.secret_ref else set()
    for variable in container.env:
        if (reference := variable.value_from) is not None:
            config_maps |= {reference.config_map_key_ref.name} if reference.config_map_key_ref else set()
            secrets |= {reference.secret_key_ref.name} if reference.secret_key_ref else set()
    return config_maps, secrets
