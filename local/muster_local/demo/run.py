"""The main job on a real control plane, from the first pod to a trained model; leaves nothing behind."""

from __future__ import annotations

from rich.console import Console

from muster_api.names import MANAGED_LABEL
from muster_local.cluster import Cluster
from muster_local.demo.gangs import NODES, GangStories
from muster_local.demo.rest import RestStory
from muster_local.demo.stage import Stage
from muster_local.demo.training import GPUS_PER_NODE, PROCESS_NODES, TrainingStory
from muster_local.stores.finding import missing_stores
from muster_local.worker import what_training_lacks


def run_demo(cluster: Cluster, console: Console) -> None:
    """Starts a control plane, tells the stories and takes everything away again, also when one of them fails.

    Raises LocalError as soon as the cluster does not do what a story says.
    """
    lacking = what_training_lacks()
    try:
        cluster.up(nodes=NODES, process_nodes=0 if lacking else PROCESS_NODES, process_gpus=GPUS_PER_NODE)
        _tell(Stage(cluster, console), lacking)
    finally:
        cluster.down(purge=True)
    console.print(
        "\n[bold]Try it yourself[/bold]: everything is cleaned up; your own control plane is one command away."
    )
    console.print("  .venv/bin/muster local up --detach   then   .venv/bin/muster local shell", markup=False)
    console.print("  kubectl create namespace team && kubectl label namespace team " + f"{MANAGED_LABEL}=true")
    console.print("  docs/usage.md has the labels, annotations and reasons; make test runs all scenarios.")


def _tell(stage: Stage, lacking: str) -> None:
    stage.open()
    gangs = GangStories(stage)
    gangs.one_by_one()
    gangs.last_gpus()
    gangs.killed_extender()
    if lacking:
        stage.title("4. A gang trains for real: left out")
        stage.say(f"{lacking}. `make worker` installs it, 5 GB, or 1 GB from an index of CPU wheels:")
        stage.say("make worker TORCH_INDEX=<address>; then run the demo again. docs/worker.md has the details.")
    else:
        TrainingStory(stage).run()
    missing = missing_stores()
    if missing:
        stage.title("5. A job by REST: left out")
        stage.say(missing)
    else:
        RestStory(stage).run()
