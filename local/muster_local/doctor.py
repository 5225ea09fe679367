"""Looking at this machine before or after something fails, each finding with what to do about it."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import msgspec
import psutil

from muster_local import instance as records
from muster_local.binaries import PROGRAMS, candidates, usable_candidates
from muster_local.build import NEEDED_BYTES, built_path, ways_out
from muster_local.components import START_ORDER, Component
from muster_local.errors import LocalError
from muster_local.launcher import is_available, runs
from muster_local.layout import StateLayout, cache_dir
from muster_local.manifests import manifest_root
from muster_local.ports import any_block_is_free
from muster_local.process_node.images import worker_environment
from muster_local.process_node.isolation import find_isolation
from muster_local.process_node.supervisor.launch import Isolation
from muster_local.stores.finding import find_postgres, find_redis
from muster_local.stores.homes import abandoned_homes
from muster_local.worker import what_training_lacks

_NEEDED_MEMORY_BYTES = 2 * 1024**3
_NEEDED_FILES = 4096
_OLDEST_GO = (1, 26)
_STATE_BYTES = 1024**3


class Verdict(StrEnum):
    """How bad a finding is; only BAD keeps a control plane from starting."""

    GOOD = "ok"
    WARNING = "warning"
    BAD = "error"


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at."""

    subject: str
    verdict: Verdict
    detail: str
    remedy: str = ""


def examine(layout: StateLayout) -> list[Finding]:
    """Everything worth looking at, in the order in which a start would stumble over it."""
    findings = [*_programs(), _go(), _manifests()]
    checks: tuple[Callable[[], Finding], ...] = (_memory, _open_files, _ports)
    findings += [check() for check in checks]
    findings.append(_disk("cache folder", cache_dir(), _cache_bytes_needed()))
    findings.append(_disk("state folder", layout.root, _STATE_BYTES))
    return [*findings, *_services(), *_stores(), *_process_nodes(), *_instance(layout)]


def _programs() -> list[Finding]:
    found = usable_candidates(candidates(os.environ))
    places = {program: _place(program, found.get(program)) for program in PROGRAMS}
    findings = [Finding(program, Verdict.GOOD, place) for program, place in places.items() if place]
    missing = [program for program, place in places.items() if not place]
    if missing:
        findings.append(Finding(", ".join(missing), Verdict.BAD, "neither found nor built", ways_out(missing)))
    return findings


def _place(program: str, found: Path | None) -> str:
    if found is not None:
        return str(found)
    if built_path(program).exists():
        return f"built, {built_path(program)}"
    return "not there yet; the first start builds it" if shutil.which("go") else ""


def _go() -> Finding:
    if all(built_path(program).exists() for program in PROGRAMS):
        return Finding("go", Verdict.GOOD, "not needed, everything is built")
    go = shutil.which("go")
    if go is None:
        return Finding("go", Verdict.WARNING, "not on PATH; needed only to build missing programs")
    try:
        answer = subprocess.run([go, "version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("go", Verdict.WARNING, f"{go} does not run: {error}", "install Go 1.26 or newer")
    match = re.search(r"go(\d+)\.(\d+)", answer)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    if version < _OLDEST_GO:
        return Finding("go", Verdict.WARNING, answer.strip(), "Go fetches 1.26 by itself; offline, install it")
    return Finding("go", Verdict.GOOD, answer.strip())


def _manifests() -> Finding:
    try:
        return Finding("manifests", Verdict.GOOD, str(manifest_root()))
    except LocalError as error:
        return Finding("manifests", Verdict.BAD, str(error), "install muster-scheduler again")


def _memory() -> Finding:
    available = psutil.virtual_memory().available
    detail = f"{available / 1024**3:.1f} GiB available"
    if available < _NEEDED_MEMORY_BYTES:
        return Finding("memory", Verdict.WARNING, detail, "about 2 GiB are used with 1000 simulated nodes")
    return Finding("memory", Verdict.GOOD, detail)


def _open_files() -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _NEEDED_FILES:
        remedy = "the extender holds one connection per waiting pod: raise it (ulimit -Hn) for gangs beyond 500"
        return Finding("open files", Verdict.WARNING, f"at most {hard}", remedy)
    return Finding("open files", Verdict.GOOD, "unlimited" if hard == resource.RLIM_INFINITY else f"up to {hard}")


def _ports() -> Finding:
    if any_block_is_free():
        return Finding("ports", Verdict.GOOD, "free ones on 127.0.0.1")
    return Finding("ports", Verdict.BAD, "no free block on 127.0.0.1", "end what listens between 20000 and 32000")


def _cache_bytes_needed() -> int:
    return 0 if all(built_path(program).exists() for program in PROGRAMS) else NEEDED_BYTES


def _disk(subject: str, folder: Path, needed: int) -> Finding:
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(existing, os.W_OK):
        return Finding(subject, Verdict.BAD, f"{existing} is not writable", "choose another with --state-dir")
    free = shutil.disk_usage(existing).free
    detail = f"{folder}, {free / 1024**3:.1f} GiB free"
    if free < needed:
        return Finding(subject, Verdict.BAD, detail, f"free {(needed - free) / 1024**3:.1f} GiB")
    return Finding(subject, Verdict.GOOD, detail)


def _services() -> list[Finding]:
    missing = [component for component in START_ORDER if not is_available(component)]
    remedy = f"install the extra: {Path(sys.executable).name} -m pip install 'muster-scheduler[local]'"
    return [Finding(component, Verdict.BAD, "not installed", remedy) for component in missing]


def _stores() -> list[Finding]:
    """Only `up --stores` needs them."""
    findings = []
    for store, find in ((Component.POSTGRES, find_postgres), (Component.REDIS, find_redis)):
        try:
            program = find()
            origin = "of the wheel" if program.embedded else "of the system"
            findings.append(Finding(store, Verdict.GOOD, f"version {program.version} {origin}, {program.path}"))
        except LocalError as error:
            findings.append(Finding(store, Verdict.WARNING, "neither found nor embedded", str(error)))
    abandoned = " ".join(map(str, abandoned_homes()))
    if abandoned:
        detail = f"their state folders are gone: {abandoned}"
        findings.append(Finding("databases", Verdict.WARNING, detail, f"remove them: rm -r {abandoned}"))
    return findings


def _process_nodes() -> list[Finding]:
    kind = find_isolation()
    if kind is Isolation.NONE:
        remedy = "run as root, or let users make user namespaces; volumes and names of process pods need them"
        isolation = Finding("process nodes", Verdict.WARNING, "no mount namespaces here", remedy)
    else:
        isolation = Finding("process nodes", Verdict.GOOD, f"private file systems by {kind}")
    lacking = what_training_lacks()
    if lacking:
        return [isolation, Finding("worker environment", Verdict.WARNING, lacking, "run `make worker` to train")]
    return [isolation, Finding("worker environment", Verdict.GOOD, str(worker_environment()))]


def _instance(layout: StateLayout) -> list[Finding]:
    try:
        instance = records.load_or_none(layout)
    except LocalError as error:
        return [Finding("instance", Verdict.BAD, str(error), f"remove {layout.root}")]
    if instance is None:
        return [Finding("instance", Verdict.GOOD, f"none in {layout.root}")]
    wanted = [component for component in START_ORDER if instance.options.wants(component)]
    stopped = [str(component) for component in wanted if not runs(component, instance)]
    if not stopped or len(stopped) == len(wanted):
        state = "stopped" if stopped else "running"
        return [Finding("instance", Verdict.GOOD, f"{state}, in {layout.root}")]
    remedy = f"read `muster local logs {stopped[0]}`, then `muster local start {stopped[0]}`"
    return [Finding("instance", Verdict.WARNING, f"not running: {', '.join(stopped)}", remedy)]
