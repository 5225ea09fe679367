"""`muster-queue`: one executable, one subcommand per role."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from muster_kube.process import run
from muster_queue.api.app import Settings, run_api
from muster_queue.controller.app import run_controller
from muster_queue.controller.settings import ControllerSettings
from muster_queue.dispatch.settings import DispatchSettings, ServiceSettings
from muster_queue.index.connection import IndexSettings
from muster_queue.storage.commands import add_migrate, migrate
from muster_queue.storage.settings import StorageSettings
from muster_queue.variables import VariablesError, read_settings, variables_of

USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the role from the command line and runs it until it is told to stop."""
    parser = argparse.ArgumentParser(prog="muster-queue", description="The queue service of Muster.")
    roles = parser.add_subparsers(dest="role", required=True, metavar="ROLE")
    roles.add_parser(
        "controller",
        help="plan gangs, release them and follow them up; one leader, any number of standbys",
        description=f"Settings are environment variables: {', '.join(variables_of(ControllerSettings))}; KUBECONFIG, "
        "or the pod's service account, says which cluster. With MUSTER_DATABASE_URL the leader dispatches the stored "
        f"jobs, too: {', '.join(variables_of(DispatchSettings, StorageSettings, IndexSettings))}.",
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
    except VariablesError as error:
        return _complain(error)
    return run("muster-api", lambda supervisor: run_api(supervisor, settings), log_level=settings.api.log_level)


def _control() -> int:
    try:
        settings, service = read_settings(ControllerSettings), ServiceSettings.from_environment()
    except VariablesError as error:
        return _complain(error)
    return run(
        "muster-controller",
        lambda supervisor: run_controller(supervisor, settings, service),
        log_level=settings.log_level,
    )


def _complain(error: VariablesError) -> int:
    for problem in error.problems:
        sys.stderr.write(f"muster-queue: {problem}\n")
    return USAGE


if __name__ == "__main__":
    sys.exit(main())
