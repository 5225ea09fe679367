"""Finding the programs of the control plane: KUBEBUILDER_ASSETS, then PATH, else built."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from muster_local.build import build_missing
from muster_local.progress import Progress

ASSETS_VARIABLE = "KUBEBUILDER_ASSETS"
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
PROGRAMS = ("etcd", *CONTROL_PLANE, "kubectl", "kwok")

_OLDEST: dict[str, tuple[int, int]] = {"etcd": (3, 5), "kwok": (0, 6)}
_OLDEST_KUBERNETES = (1, 30)
# kubectl supports one minor version to either side of the API server.
_KUBECTL_SKEW = 1
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.\d+")
_PROBE_SECONDS = 20

Version = tuple[int, int]


@dataclass(frozen=True)
class Candidate:
    """A program found outside our cache, and what it says about itself."""

    program: str
    path: Path
    version: Version | None

    @property
    def usable(self) -> bool:
        oldest = _OLDEST.get(self.program, _OLDEST_KUBERNETES)
        return self.version is not None and self.version >= oldest


def find_binaries(progress: Progress, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The path of every program; what the environment lacks is built, or an error lists the ways out."""
    found = usable_candidates(candidates(environment or os.environ))
    missing = [program for program in PROGRAMS if program not in found]
    built = build_missing(missing, progress) if missing else {}
    return {program: str(found.get(program) or built[program]) for program in PROGRAMS}


def candidates(environment: Mapping[str, str]) -> list[Candidate]:
    """What lies in KUBEBUILDER_ASSETS and on PATH, the former first, with versions."""
    places = [environment.get(ASSETS_VARIABLE), environment.get("PATH")]
    paths = [
        (program, Path(path))
        for place in places
        if place
        for program in PROGRAMS
        if (path := shutil.which(program, path=place)) is not None
    ]
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda entry: Candidate(entry[0], entry[1], version_of(*entry)), paths))


def version_of(program: str, path: Path) -> Version | None:
    """The version that a program prints, or nothing when it is not that program."""
    arguments = ["version", "--client"] if program == "kubectl" else ["--version"]
    try:
        answer = subprocess.run(
            [str(path), *arguments], capture_output=True, text=True, timeout=_PROBE_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_version(answer.stdout)


def parse_version(text: str) -> Version | None:
    """Major and minor of the first version in a text."""
    match = _VERSION.search(text)
    return (int(match[1]), int(match[2])) if match else None


def usable_candidates(all_candidates: list[Candidate]) -> dict[str, Path]:
    """The first good candidate of each program; the three kube-* only together and of one version."""
    first: dict[str, Candidate] = {}
    for candidate in all_candidates:
        if candidate.usable:
            first.setdefault(candidate.program, candidate)
    versions = {first[program].version if program in first else None for program in CONTROL_PLANE}
    if len(versions) > 1 or None in versions:
        for program in CONTROL_PLANE:
            first.pop(program, None)
    _drop_skewed_kubectl(first)
    return {program: candidate.path for program, candidate in first.items()}


def _drop_skewed_kubectl(first: dict[str, Candidate]) -> None:
    kubectl, server = first.get("kubectl"), first.get("kube-apiserver")
    if kubectl is None:
        return
    if kubectl.version is None or server is None or server.version is None:
        # The server will be the one that we build; its kubectl comes with it.
        first.pop("kubectl")
        return
    if abs(kubectl.version[1] - server.version[1]) > _KUBECTL_SKEW:
        first.pop("kubectl")
