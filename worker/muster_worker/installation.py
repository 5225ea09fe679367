"""What is installed here, and whether it is enough to work."""

from __future__ import annotations

import platform
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from msgspec import Struct, field

REMEDY = "`make worker` installs what is missing into .venv-worker"
_NEEDED = {"torch": "torch", "scikit-learn": "sklearn", "numpy": "numpy"}


class Cuda(Struct, frozen=True, kw_only=True):
    """What torch sees of GPUs."""

    available: bool = False
    version: str | None = None
    devices: tuple[str, ...] = ()


class Installation(Struct, frozen=True, kw_only=True):
    """Versions are null where the package is missing."""

    ready: bool
    missing: tuple[str, ...]
    remedy: str
    python: str
    packages: dict[str, str | None]
    backends: tuple[str, ...] = ()
    cuda: Cuda = field(default_factory=Cuda)


def examine() -> Installation:
    """Imports torch, because wheels that are installed but cannot be loaded do not help."""
    packages = {name: _version(name) for name in _NEEDED}
    missing = [name for name, found in packages.items() if found is None]
    backends: tuple[str, ...] = ()
    cuda = Cuda()
    if "torch" not in missing:
        try:
            backends, cuda = _backends(), _cuda()
        except (ImportError, OSError) as error:
            missing.append(f"torch ({error})")
    return Installation(
        ready=not missing,
        missing=tuple(missing),
        remedy=REMEDY if missing else "",
        python=platform.python_version(),
        packages=packages,
        backends=backends,
        cuda=cuda,
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _backends() -> tuple[str, ...]:
    distributed = import_module("torch.distributed")
    there = {"gloo": distributed.is_gloo_available(), "nccl": distributed.is_nccl_available()}
    return tuple(name for name, available in there.items() if available)


def _cuda() -> Cuda:
    torch = import_module("torch")
    available = bool(torch.cuda.is_available())
    names = tuple(str(torch.cuda.get_device_name(index)) for index in range(torch.cuda.device_count()))
    return Cuda(available=available, version=torch.version.cuda, devices=names if available else ())
