"""Volumes as folders: what belongs into them is worked out purely, then written so that readers see whole files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from muster_local.process_node.environment import (
    ConfigurationError,
    Sources,
    field_value,
    resource_value,
)
from muster_local.process_node.objects import (
    ConfigMapVolume,
    DownwardVolume,
    KeyToPath,
    Pod,
    ProjectedSource,
    SecretVolume,
    Volume,
)
from muster_local.secure_files import write_private


@dataclass(frozen=True, slots=True)
class File:
    """The content of one file and who may read it."""

    data: bytes
    mode: int


Files = dict[str, File]
"""Files by their path below the volume's folder."""

Tokens = Mapping[tuple[str, str], bytes]
"""ServiceAccount tokens by volume name and path."""


def object_names(pod: Pod) -> tuple[set[str], set[str]]:
    """The ConfigMaps and Secrets that the pod's volumes are made of."""
    config_maps: set[str] = set()
    secrets: set[str] = set()
    for volume in pod.spec.volumes:
        sources: Sequence[Volume | ProjectedSource] = (volume, *(volume.projected.sources if volume.projected else ()))
        for source in sources:
            if source.config_map is not None:
                config_maps.add(source.config_map.name)
            if source.secret is not None:
                secrets.add(source.secret.secret_name or source.secret.name)
    return config_maps, secrets


def volume_files(pod: Pod, volume: Volume, sources: Sources, tokens: Tokens) -> Files | None:
    """What the API says is in the volume; None for a folder that the pod fills itself."""
    if volume.projected is not None:
        files: Files = {}
        for source in volume.projected.sources:
            files |= _projected(pod, volume.name, source, volume.projected.default_mode, sources, tokens)
        return files
    return _source_files(pod, volume, None, sources)


def _source_files(pod: Pod, source: Volume | ProjectedSource, mode: int | None, sources: Sources) -> Files | None:
    """`mode` is that of a projected volume, which counts instead of each source's own."""
    if source.config_map is not None:
        return _config_map(source.config_map, mode, sources)
    if source.secret is not None:
        return _secret(source.secret, mode, sources)
    if source.downward is not None:
        return _downward(pod, source.downward, mode, sources)
    return None


def _projected(pod: Pod, name: str, source: ProjectedSource, mode: int, sources: Sources, tokens: Tokens) -> Files:
    if source.service_account_token is not None:
        path = source.service_account_token.path
        return {_safe(path): File(tokens[name, path], mode)}
    return _source_files(pod, source, mode, sources) or {}


def _config_map(volume: ConfigMapVolume, mode: int | None, sources: Sources) -> Files:
    data = sources.config_maps.get(volume.name)
    default = volume.default_mode if mode is None else mode
    return _keys(data, volume.items, default, f'configmap "{volume.name}"', optional=volume.optional)


def _secret(volume: SecretVolume, mode: int | None, sources: Sources) -> Files:
    name = volume.secret_name or volume.name
    default = volume.default_mode if mode is None else mode
    return _keys(sources.secrets.get(name), volume.items, default, f'secret "{name}"', optional=volume.optional)


def _keys(
    data: Mapping[str, bytes] | None, items: tuple[KeyToPath, ...], mode: int, subject: str, *, optional: bool
) -> Files:
    if data is None:
        if optional:
            return {}
        raise ConfigurationError(f"{subject} not found")
    if not items:
        return {_safe(key): File(content, mode) for key, content in data.items()}
    files: Files = {}
    for item in items:
        if item.key in data:
            files[_safe(item.path)] = File(data[item.key], mode if item.mode is None else item.mode)
        elif not optional:
            raise ConfigurationError(f"{subject} has no key {item.key!r}")
    return files


def _downward(pod: Pod, volume: DownwardVolume, mode: int | None, sources: Sources) -> Files:
    files: Files = {}
    default = volume.default_mode if mode is None else mode
    for item in volume.items:
        if item.field_ref is not None:
            text = field_value(pod, item.field_ref.field_path, sources)
        elif item.resource_field_ref is not None:
            text = resource_value(pod, item.resource_field_ref, sources)
        else:
            continue
        files[_safe(item.path)] = File(text.encode(), default if item.mode is None else item.mode)
    return files


def _safe(path: str) -> str:
    """The API server refuses paths that lead out of the volume; so do we."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise ConfigurationError(f"path {path!r} leads out of its volume")
    return str(pure)


def write_files(folder: Path, files: Files) -> None:
    """Makes the folder hold exactly these files; each is replaced in one step and only when it changed."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() and str(path.relative_to(folder)) not in files:
            path.unlink(missing_ok=True)
    for name, file in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != file.data:
            write_private(path, file.data)
        path.chmod(file.mode)
