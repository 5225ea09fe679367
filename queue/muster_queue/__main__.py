"""`muster-queue`: one executable, one subcommand per role."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from muster_kube.process import run
from muster_queue.api.app import Settings, run_api
from muster_queue.controller.app import run_controller
from muster_queue.controller.settings import ControllerSettings
from muster_queue.storage.commands import add_migrate, migrate

USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the role from the command line and runs it until it is told to stop."""
    parser = argparse.ArgumentParser(prog="muster-queue", description="The queue service of Muster.")
    roles = parser.add_subparsers(dest="role", required=True, metavar="ROLE")
    roles.add_parser(
        "controller",
        help="plan gangs, release them and follow them up; one leader, any number of standbys",
        description="Settings are environment variables: "
        + ", ".join(f"MUSTER_{name.upper()}" for name in ControllerSettings.model_fields)
        + "; KUBECONFIG, or the pod's service account, says which cluster.",
    )
    roles.add_parser(
        "api",
        help="take jobs over HTTP and answer what becomes of them; any number of replicas",
        description="MUSTER_DATABASE_URL and MUSTER_REDIS_URL say where the stores are; KUBECONFIG, or the pod's "
        "service account, which cluster judges tokens and rights. docs/api.md lists the other settings.",
    )
    add_migrate(
        roles.add_parser(
            "migrate",
            help="bring the schema of the database to this version's, or back",
            description="MUSTER_DATABASE_URL says which database; its user may make roles, or finds them made.",
        )
    )
    asked = parser.parse_args(arguments)
    match asked.role:
        case "migrate":
            return migrate(asked)
        case "api":
            return _serve()
        case _:
            return _control()


def _serve() -> int:
    try:
        settings = Settings.from_environment()
    except ValidationError as error:
        sys.stderr.write(f"muster-queue: {error}\n")
        return USAGE
    return run("muster-api", lambda supervisor: run_api(supervisor, settings), log_level=settings.api.log_level)


def _control() -> int:
    try:
        settings = ControllerSettings()
    except ValidationError as error:
        sys.stderr.write(f"muster-queue: {error}\n")
        return USAGE
    return run("muster-controller", run_controller, log_level=settings.log_level)


if __name__ == "__main__":
    sys.exit(main())
