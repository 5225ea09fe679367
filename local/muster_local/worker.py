"""Whether jobs can train on process nodes of this machine: what `make worker` installs, asked from outside."""

from __future__ import annotations

import subprocess
from pathlib import Path

from muster_local.process_node.images import worker_environment

# Only looked for: importing torch takes seconds, and a worker that cannot import it says so itself.
_LOOK = "import importlib.util as u; print(*(n for n in ('torch', 'sklearn', 'numpy') if u.find_spec(n) is None))"
_SECONDS = 30


def what_training_lacks(environment: Path | None = None) -> str:
    """One line for a person; empty if nothing is missing."""
    programs = (environment or worker_environment()) / "bin"
    if not (programs / "muster-worker").exists():
        return f"The training worker is not installed: there is no {programs / 'muster-worker'}"
    try:
        answer = subprocess.run(
            [programs / "python", "-c", _LOOK], capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"The training worker does not run: {error}"
    missing = ", ".join(answer.stdout.split())
    return f"The training worker lacks {missing}" if missing else ""
