"""Building Kubernetes' own components once from their published Go modules into the user's cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from muster_local.errors import BinariesMissingError, BuildFailedError
from muster_local.layout import cache_dir
from muster_local.progress import Progress

MODULES = Path(__file__).resolve().parent / "modules"
KUBERNETES_VERSION = "1.37.0"
NEEDED_BYTES = 6 * 1024**3

_STAMP = "k8s.io/component-base/version"
_MAJOR, _MINOR, _ = KUBERNETES_VERSION.split(".")
_STRIP = "-s -w"
_POLL_SECONDS = 0.2
_ERROR_LINES = 30


@dataclass(frozen=True)
class Module:
    """One go.mod of ours and the programs that it names."""

    name: str
    packages: dict[str, str]
    linker_flags: str

    @property
    def folder(self) -> Path:
        return MODULES / self.name

    def digest(self) -> str:
        """Changes when anything does that decides what is built."""
        content = hashlib.sha256()
        for file in ("go.mod", "go.sum"):
            content.update((self.folder / file).read_bytes())
        content.update(self.linker_flags.encode())
        return content.hexdigest()[:16]

    def output(self) -> Path:
        return cache_dir() / "components" / f"{self.name}-{self.digest()}"


ETCD_MODULE = Module("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}, _STRIP)
KUBERNETES_MODULE = Module(
    "kubernetes",
    {
        "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
        "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
        "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
        "kubectl": "k8s.io/kubernetes/cmd/kubectl",
        "kwok": "sigs.k8s.io/kwok/cmd/kwok",
    },
    f"{_STRIP} -X {_STAMP}.gitVersion=v{KUBERNETES_VERSION}"
    f" -X {_STAMP}.gitMajor={_MAJOR} -X {_STAMP}.gitMinor={_MINOR}",
)
ALL_MODULES = (ETCD_MODULE, KUBERNETES_MODULE)


def module_of(program: str) -> Module:
    """The module that builds a program."""
    return next(module for module in ALL_MODULES if program in module.packages)


def built_path(program: str) -> Path:
    """Where a built program lies, or would lie."""
    return module_of(program).output() / program


def build_missing(programs: Sequence[str], progress: Progress) -> dict[str, Path]:
    """Builds those programs that the cache lacks; a second caller waits for the first and finds them."""
    paths = {program: built_path(program) for program in programs}
    if all(path.exists() for path in paths.values()):
        return paths
    cache_dir().mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(cache_dir() / "build.lock"):
        missing = [program for program, path in paths.items() if not path.exists()]
        if missing:
            _build(missing, progress)
    return paths


def _build(programs: Sequence[str], progress: Progress) -> None:
    go = shutil.which("go")
    if go is None:
        raise BinariesMissingError(ways_out(programs))
    progress.note(
        f"building {', '.join(programs)} from source, once; about 7 minutes on 2 cores, 5 GB of disk meanwhile"
    )
    # kube-apiserver is the longest; building it alone first would not be faster, Go shares what is compiled.
    for module in ALL_MODULES:
        for program in (program for program in module.packages if program in programs):
            _build_program(go, module, program, progress)
    _remove_go_caches()


def _build_program(go: str, module: Module, program: str, progress: Progress) -> None:
    output = module.output()
    output.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = output / f".{program}.{os.getpid()}"
    command = [go, "build", "-trimpath", "-ldflags", module.linker_flags, "-o", str(partial)]
    command.append(module.packages[program])
    log = cache_dir() / f"build-{program}.log"
    try:
        progress.step(f"building {program}", lambda: _run(command, module.folder, log))
        partial.replace(output / program)
    finally:
        partial.unlink(missing_ok=True)
    log.unlink(missing_ok=True)


def _run(command: list[str], folder: Path, log: Path) -> None:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=_go_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            while process.poll() is None:
                time.sleep(_POLL_SECONDS)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-_ERROR_LINES:])
        raise BuildFailedError(f"{' '.join(command)} failed; the whole output is in {log}\n{tail}")


def _go_environment() -> dict[str, str]:
    """Go's own caches inside ours, so that nothing lands in other folders of the user."""
    caches = go_caches()
    return os.environ | {
        "GOMODCACHE": str(caches / "mod"),
        "GOCACHE": str(caches / "build"),
        "GOFLAGS": "-modcacherw -buildvcs=false",
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "auto",
        "GOWORK": "off",
        "GOTELEMETRY": "off",
    }


def go_caches() -> Path:
    """Go's caches while something is built; removed afterwards, they are ten times what is kept."""
    return cache_dir() / "go"


def _remove_go_caches() -> None:
    shutil.rmtree(go_caches(), ignore_errors=True)


def ways_out(programs: Sequence[str]) -> str:
    """The error for a machine that has neither the programs nor Go."""
    return "\n".join(
        [
            f"missing: {', '.join(programs)}. Any one of these helps:",
            "  * set KUBEBUILDER_ASSETS to a folder that has them, or put them on PATH (Kubernetes 1.30 or newer;",
            "    the three kube-* programs of one version, kwok 0.6 or newer, etcd 3.5 or newer)",
            "  * install Go 1.26 or newer: the next start builds them, once, in",
            f"    about 7 minutes, into {cache_dir() / 'components'}",
            f"  * copy them from a machine that has built them: the same folder there, digest {_digests()}",
        ]
    )


def _digests() -> str:
    return " and ".join(f"{module.name}-{module.digest()}" for module in ALL_MODULES)
