"""`muster-queue migrate`: brings the schema up, takes it down, or says where it stands."""

from __future__ import annotations

import argparse
import sys

from alembic.util import CommandError
from psycopg import Error as DriverError
from sqlalchemy.exc import SQLAlchemyError

from muster_queue.storage.migrations.runner import BASE, HEAD, downgrade, schema_status, upgrade
from muster_queue.storage.settings import StorageSettings
from muster_queue.variables import VariablesError, read_settings

FAILED = 1
USAGE = 2
PENDING = 3


def add_migrate(parser: argparse.ArgumentParser) -> None:
    """The subcommand's own arguments."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    up = verbs.add_parser("up", help="apply what is pending")
    up.add_argument("revision", nargs="?", default=HEAD, help=f"how far to go [{HEAD}]")
    down = verbs.add_parser("down", help="take revisions back, with the data that they hold")
    down.add_argument("revision", help=f"where to go back to; {BASE} takes everything away")
    verbs.add_parser("status", help=f"say where the schema stands; exit status {PENDING} when something is pending")


def migrate(arguments: argparse.Namespace) -> int:
    """Runs the verb; each step is told on stdout, what goes wrong in one line on stderr."""
    try:
        url = read_settings(StorageSettings).database_url.get_secret_value()
        match arguments.verb:
            case "up":
                upgrade(url, arguments.revision, tell)
            case "down":
                downgrade(url, arguments.revision, tell)
            case _:
                return _status(url)
    except VariablesError as error:
        return _complain("; ".join(error.problems), USAGE)
    except CommandError as error:
        return _complain(str(error), USAGE)
    except (SQLAlchemyError, DriverError) as error:
        return _complain(str(getattr(error, "orig", None) or error).strip(), FAILED)
    return 0


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _status(url: str) -> int:
    status = schema_status(url)
    tell(f"database at {status.revision or '(nothing)'}, newest revision {status.head}")
    for revision in status.pending:
        tell(f"pending: {revision}")
    return 0 if status.is_current else PENDING


def _complain(message: str, status: int) -> int:
    sys.stderr.write(f"muster-queue migrate: {message}\n")
    return status
