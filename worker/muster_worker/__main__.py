"""`muster-worker`: what runs in the pods of a job."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import msgspec

from muster_api.jobs import JobType
from muster_worker.errors import RefusedError
from muster_worker.installation import Installation, examine
from muster_worker.job import KINDS, run_job
from muster_worker.option_reading import CONFIGURATION, help_for
from muster_worker.pool.options import add_options
from muster_worker.termination_message import write_termination_message

_EXITS = "Exit status: 0 done, 1 failed (another attempt may help), 2 refused (none can), 143 stopped by SIGTERM."


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the command line and does what it says."""
    chosen = vars(_parser().parse_args(arguments))
    command = chosen.pop("command")
    if command == "check":
        return _check(chosen["output"])
    if command == "pool":
        from muster_worker.pool.command import run_pool

        return run_pool(argparse.Namespace(**chosen))
    if command == "run":
        return run_job(None, {}, os.environ)
    given = {name: value for name, value in chosen.items() if value is not None}
    return run_job(JobType.TRAINING, given, os.environ)


class _RefusingParser(argparse.ArgumentParser):
    """Says in the termination message too that the command line is refused, or another attempt would be made."""

    def error(self, message: str) -> NoReturn:
        write_termination_message(os.environ, f"{RefusedError.event}: {message}")
        super().error(message)


def _parser() -> argparse.ArgumentParser:
    parser = _RefusingParser(
        prog="muster-worker", description="Runs a job of Muster: one process for each member of a gang.", epilog=_EXITS
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    training = commands.add_parser(
        "train",
        help="train a classifier of digits, together with the other ranks",
        description="Trains with PyTorch's DistributedDataParallel. RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and "
        f"MASTER_PORT say which member this is. Options also come from {CONFIGURATION}, a JSON object with the names "
        "below and underscores; the command line wins.",
        epilog=_EXITS,
        allow_abbrev=False,
    )
    for field in msgspec.structs.fields(KINDS[JobType.TRAINING].options):
        flag = f"--{field.name.replace('_', '-')}"
        # Percent signs would be taken for argparse's own.
        training.add_argument(flag, dest=field.name, metavar="VALUE", help=help_for(field).replace("%", "%%"))
    commands.add_parser(
        "run",
        help="do what MUSTER_JOB_TYPE says, with the options of MUSTER_CONFIG",
        description=f"MUSTER_JOB_TYPE is one of {', '.join(JobType)}; {CONFIGURATION} is a JSON object of options.",
        epilog=_EXITS,
    )
    pool = commands.add_parser(
        "pool",
        help="take jobs of a pool from the api, several at once, until told to stop",
        description="Leases jobs with `execution: pool` over the REST api, runs them, and says how each has ended. "
        "Each option may also come from the environment, as MUSTER_POOL_URL and so on.",
        epilog="Exit status: 0 stopped in order by SIGTERM, 1 failed, 2 refused (an option or the installation).",
        allow_abbrev=False,
    )
    add_options(pool)
    check = commands.add_parser("check", help="say what is installed, and exit with 1 if something is missing")
    check.add_argument("-o", "--output", choices=("text", "json"), default="text", help="how to print")
    return parser


def _check(output: str) -> int:
    found = examine()
    as_json = msgspec.json.format(msgspec.json.encode(found), indent=2).decode()
    sys.stdout.write(f"{as_json if output == 'json' else _described(found)}\n")
    return 0 if found.ready else 1


def _described(found: Installation) -> str:
    lines = [f"{name:13} {version or 'missing'}" for name, version in found.packages.items()]
    lines.append(f"{'backends':13} {', '.join(found.backends) or 'none'}")
    lines.append(f"{'GPUs':13} {', '.join(found.cuda.devices) or 'none'}")
    lines.append("ready" if found.ready else f"not ready: {', '.join(found.missing)}; {found.remedy}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
