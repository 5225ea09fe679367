"""The command line `muster`; `muster local` runs a real control plane on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from muster_local.binaries import find_binaries
from muster_local.cluster import Cluster
from muster_local.components import START_ORDER, process_node_name
from muster_local.demo.run import run_demo
from muster_local.doctor import Verdict, examine
from muster_local.errors import LocalError
from muster_local.instance import state_layout
from muster_local.layout import default_state_dir
from muster_local.output import OutputFormat, print_findings, print_line, print_status
from muster_local.progress import Progress
from muster_local.token_issuer import Role, User, ensure_issuer, grant, granted, make_token

app = typer.Typer(
    name="muster",
    help="Gang and priority scheduling for GPU pods on the stock kube-scheduler.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
local = typer.Typer(
    name="local",
    help="A real Kubernetes control plane with Muster on this machine, on loopback only.",
    no_args_is_help=True,
)
app.add_typer(local)

_FOLLOW_SECONDS = 0.2
_WATCH_SECONDS = 1.0


@app.callback()
def muster() -> None:
    """Gang and priority scheduling for GPU pods on the stock kube-scheduler."""


def _component_names() -> list[str]:
    return [*map(str, START_ORDER), process_node_name(0)]


StateDir = Annotated[
    Path | None,
    typer.Option(help=f"Folder of this instance; another folder, another instance (default: {default_state_dir()})."),
]
Name = Annotated[str, typer.Argument(help=f"One of {', '.join(_component_names())}.", autocompletion=_component_names)]
Output = Annotated[OutputFormat, typer.Option("--output", "-o", help="How to print.")]


@local.command()
def up(
    state_dir: StateDir = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when ready; `down` ends it.")] = False,
    nodes: Annotated[int | None, typer.Option(min=0, help="Simulated nodes (default: 4).")] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="GPUs per simulated node (default: 8).")] = None,
    cpu: Annotated[str | None, typer.Option(help="CPU per simulated node (default: 64).")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory per simulated node (default: 256Gi).")] = None,
    pods: Annotated[int | None, typer.Option(min=1, help="Pods per simulated node (default: 1000).")] = None,
    zones: Annotated[int | None, typer.Option(min=1, help="Zones the nodes are dealt into (default: 2).")] = None,
    racks: Annotated[int | None, typer.Option(min=1, help="Racks the nodes are dealt into (default: 4).")] = None,
    muster: Annotated[
        bool | None,
        typer.Option(help="With Muster, or the stock kube-scheduler alone (default: --muster).", show_default=False),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="A component not to start; may be repeated.", autocompletion=_component_names),
    ] = None,
    process_nodes: Annotated[
        int | None, typer.Option(min=0, help="Nodes whose pods run as processes of this machine (default: 0).")
    ] = None,
    process_gpus: Annotated[
        int | None, typer.Option(min=0, help="GPUs that each process node advertises; they are not real (default: 4).")
    ] = None,
    process_cpu: Annotated[str | None, typer.Option(help="CPU per process node (default: the machine's).")] = None,
    process_memory: Annotated[
        str | None, typer.Option(help="Memory per process node (default: the machine's).")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="YAML file that maps image names to environments for process nodes.")
    ] = None,
    stores: Annotated[
        bool | None,
        typer.Option(
            help="With Postgres, Redis and the api (default: where there are programs for them).", show_default=False
        ),
    ] = None,
    postgres_url: Annotated[
        str | None, typer.Option(envvar="MUSTER_POSTGRES_URL", help="A Postgres to use instead of our own.")
    ] = None,
    redis_url: Annotated[
        str | None, typer.Option(envvar="MUSTER_REDIS_URL", help="A Redis to use instead of our own.")
    ] = None,
    bare: Annotated[
        bool | None,
        typer.Option(help="Nobody reports pods as running, for benchmarks of binding.", show_default=False),
    ] = None,
) -> None:
    """Start the control plane; choices are remembered for the next start.

    Stays in the foreground and ends everything on Ctrl-C, unless --detach is given.
    """
    cluster = Cluster(state_dir, progress=Progress())
    _raise_on_termination()
    cluster.up(
        nodes=nodes,
        gpus=gpus,
        cpu=cpu,
        memory=memory,
        pods=pods,
        zones=zones,
        racks=racks,
        muster=muster,
        without=without,
        stores=stores,
        postgres_url=postgres_url,
        redis_url=redis_url,
        bare=bare,
        process_nodes=process_nodes,
        process_gpus=process_gpus,
        process_cpu=process_cpu,
        process_memory=process_memory,
        images=None if images is None else str(images.absolute()),
    )
    print_status(cluster.status(), OutputFormat.TABLE)
    if not detach:
        _stay(cluster)


def _raise_on_termination() -> None:
    """A closed terminal or a polite kill ends the instance as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    # SIGINT as well: a shell starts background jobs with it ignored, and Python leaves that as it is.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def _stay(cluster: Cluster) -> None:
    """Tells when a component goes or comes, until somebody ends it."""
    progress = Progress()
    progress.note("running; Ctrl-C ends everything")
    try:
        known = _running(cluster)
        while known:
            time.sleep(_WATCH_SECONDS)
            now = _running(cluster)
            for name in sorted(known - now):
                progress.note(f"{name} has ended; `muster local logs {name}`, `muster local start {name}`")
            for name in sorted(now - known):
                progress.note(f"{name} is running again")
            known = now
    except KeyboardInterrupt:
        progress.note("ending")
    finally:
        cluster.down()


def _running(cluster: Cluster) -> set[str]:
    return {component.name for component in cluster.status().components if component.running}


@local.command()
def down(
    state_dir: StateDir = None,
    purge: Annotated[bool, typer.Option("--purge", help="Remove the instance's state as well.")] = False,
) -> None:
    """End every process of the instance."""
    cluster = Cluster(state_dir, progress=Progress())
    cluster.down(purge=purge)
    print_line(f"ended{' and removed' if purge else ''}: {cluster.layout.root}")


@local.command()
def status(state_dir: StateDir = None, output: Output = OutputFormat.TABLE) -> None:
    """Show which components run, where they answer, and how many nodes there are."""
    print_status(Cluster(state_dir).status(), output)


@local.command()
def start(name: Name, state_dir: StateDir = None) -> None:
    """Start a component that has ended, and return when it is ready."""
    Cluster(state_dir, progress=Progress()).start(name)
    print_line(f"{name} is ready")


@local.command()
def stop(name: Name, state_dir: StateDir = None) -> None:
    """End one component; it stays away until started."""
    Cluster(state_dir).stop(name)
    print_line(f"{name} has ended")


@local.command()
def logs(
    name: Name,
    state_dir: StateDir = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines are added.")] = False,
    tail: Annotated[int, typer.Option(min=0, help="How many of the last lines to begin with.")] = 100,
) -> None:
    """Print a component's log, kept over its restarts."""
    cluster = Cluster(state_dir)
    path = cluster.log_path(name)
    if not path.exists():
        raise LocalError(f"{name} has no log in {path.parent}; components are {', '.join(_component_names())}")
    with path.open(errors="replace") as file:
        sys.stdout.writelines(deque(file, maxlen=tail))
        while follow:
            sys.stdout.writelines(file)
            sys.stdout.flush()
            time.sleep(_FOLLOW_SECONDS)


@local.command()
def kubeconfig(
    service: Annotated[str, typer.Argument(help="Whose: admin, or a service's own account.")] = "admin",
    state_dir: StateDir = None,
) -> None:
    """Print the path of a kubeconfig: export KUBECONFIG=$(muster local kubeconfig)."""
    print_line(str(Cluster(state_dir).kubeconfig(service)))


@local.command()
def token(
    user: Annotated[str, typer.Option(help="Who it is for; to RBAC the user local:NAME.")],
    namespace: Annotated[str, typer.Option(help="Where their jobs go, and where they get the role.")] = "default",
    role: Annotated[
        Role, typer.Option(help="What they may there; cluster-admin is everything everywhere.")
    ] = Role.EDIT,
    state_dir: StateDir = None,
) -> None:
    """Print a token for the local api, and give its user the role: curl -H "Authorization: Bearer $(...)"."""
    cluster = Cluster(state_dir)
    whose = User(user, namespace, role)
    grant(cluster.client, whose)
    ensure_issuer(cluster.layout)
    sys.stderr.write(f"granted: {granted(whose)}\n")
    print_line(make_token(cluster.layout, whose, datetime.now(UTC)))


@local.command(context_settings={"ignore_unknown_options": True})
def shell(
    command: Annotated[
        list[str] | None, typer.Argument(help="Run this instead of a shell, after --.", show_default=False)
    ] = None,
    state_dir: StateDir = None,
) -> None:
    """Open a shell whose kubectl talks to this instance."""
    cluster = Cluster(state_dir)
    program = cluster.binary("kubectl").parent
    environment = os.environ | {
        "KUBECONFIG": str(cluster.kubeconfig()),
        "PATH": f"{program}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    argv = command or [os.environ.get("SHELL", "/bin/sh")]
    try:
        raise typer.Exit(subprocess.run(argv, env=environment, check=False).returncode)
    except FileNotFoundError:
        raise LocalError(f"no program {argv[0]!r}") from None


@local.command()
def doctor(state_dir: StateDir = None, output: Output = OutputFormat.TABLE) -> None:
    """Look for what would keep a control plane from starting here, and say what to do."""
    findings = examine(state_layout(state_dir or default_state_dir()))
    print_findings(findings, output)
    if any(finding.verdict is Verdict.BAD for finding in findings):
        raise typer.Exit(1)


@local.command()
def binaries() -> None:
    """Find the Kubernetes programs, or build them once, and print where they are."""
    for name, path in sorted(find_binaries(Progress()).items()):
        print_line(f"{name} {path}")


@app.command()
def demo(
    state_dir: Annotated[Path | None, typer.Option(help="Where it keeps its state until it is done.")] = None,
) -> None:
    """Show gangs starting whole and an AIJob training on a real control plane while things die, then clean up."""
    _raise_on_termination()
    folder = state_dir or default_state_dir().with_name(f"{default_state_dir().name}-demo")
    run_demo(Cluster(folder, progress=Progress()), Console(highlight=False, soft_wrap=True))


def main() -> None:
    """Runs the command line: 0 done, 1 failed with a reason, 2 wrong usage, 130 interrupted."""
    try:
        app()
    except LocalError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # `muster local logs ... | head`: the reader has enough. Standard output cannot be flushed at exit any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
