"""Which environment of this machine an image name stands for: the one table behind all containers; pure but reading it.

A process node runs no images. Their names select an environment (programs on PATH, variables) and a default command.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec
import yaml

from muster_local.errors import LocalError

WORKER_FOLDER = ".venv-worker"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Whoever follows a log wants to see each line when it is printed.
_UNBUFFERED = {"PYTHONUNBUFFERED": "1"}


class ImageEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Images whose name matches run in this environment.

    `image` is a shell pattern for the name without registry, tag and digest, or, with a slash, for the whole name
    without tag and digest. `command` is run when the container names none, as an image's entry point is.
    """

    image: str
    path: tuple[str, ...] = ()
    variables: dict[str, str] = {}
    command: tuple[str, ...] = ()
    description: str = ""


class ImageTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first entry that matches is taken."""

    images: tuple[ImageEntry, ...] = ()

    def find(self, image: str) -> ImageEntry | None:
        name = repository(image)
        short = name.rpartition("/")[2]
        for entry in self.images:
            if fnmatchcase(name if "/" in entry.image else short, entry.image):
                return entry
        return None


def repository(image: str) -> str:
    """The image's name without digest and tag; a registry's port is no tag."""
    name = image.partition("@")[0]
    folder, separator, last = name.rpartition("/")
    return f"{folder}{separator}{last.partition(':')[0]}"


def default_table(worker: Path | None = None) -> ImageTable:
    """Our worker, the specification's example images as the worker, this Python, and the machine itself."""
    environment = worker or worker_environment()
    programs = (str(environment / "bin"), str(Path(sys.prefix) / "bin"))
    work = [
        ImageEntry(
            image=image,
            path=programs,
            variables=_UNBUFFERED,
            command=("muster-worker", "run"),
            description=f"muster-worker of {environment}",
        )
        for image in ("muster-worker", "pytorch-*")
    ]
    python = ImageEntry(
        image="python",
        path=programs[1:],
        variables=_UNBUFFERED,
        command=("python",),
        description=f"Python of {sys.prefix}",
    )
    machine = ImageEntry(image="muster-host", description="the programs of this machine")
    return ImageTable((*work, python, machine))


def worker_environment() -> Path:
    """Where `make worker` installs: beside the environment that this program runs in."""
    beside = Path(sys.prefix).parent / WORKER_FOLDER
    source = Path(__file__).resolve().parents[3] / WORKER_FOLDER
    return source if source.is_dir() and not beside.is_dir() else beside


def read_table(path: Path | None) -> ImageTable:
    """The entries of a YAML file before our own; LocalError says what is wrong with it."""
    default = default_table()
    if path is None:
        return default
    try:
        document: Any = yaml.safe_load(path.read_text()) or {}
        own = msgspec.convert(document, ImageTable)
    except OSError as error:
        raise LocalError(f"the table of images cannot be read: {error}") from error
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise LocalError(f"{path} is not a table of images: {error}") from error
    return ImageTable((*own.images, *default.images))


def search_path(entry: ImageEntry) -> str:
    """The PATH of a container in this environment."""
    return ":".join((*entry.path, SYSTEM_PATH))


def command_line(entry: ImageEntry, command: Sequence[str], args: Sequence[str]) -> list[str]:
    """What runs: the container's command replaces the environment's, its args alone are added to that."""
    return [*command, *args] if command else [*entry.command, *args]
