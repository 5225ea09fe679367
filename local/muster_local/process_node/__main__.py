"""One process node; `muster local` starts it with its settings in the environment."""

from __future__ import annotations

import sys

from pydantic import ValidationError

from muster_kube.process import run
from muster_local.errors import LocalError
from muster_local.process_node.app import run_node
from muster_local.process_node.images import read_table
from muster_local.process_node.settings import NodeSettings

USAGE = 2


def main() -> int:
    """Checks the settings and runs until it is told to stop."""
    try:
        settings = NodeSettings.read()
        read_table(settings.images)
    except (ValidationError, LocalError) as error:
        sys.stderr.write(f"process node: {error}\n")
        return USAGE
    return run(settings.name, run_node, log_level=settings.log_level)


if __name__ == "__main__":
    sys.exit(main())
