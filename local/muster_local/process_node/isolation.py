"""Finds out how containers can get a private view of the file system on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from muster_local.process_node.supervisor.launch import Isolation

_PROBE_SECONDS: Final = 20
_PROBE: Final = """
import sys
from muster_local.process_node.supervisor import view
from muster_local.process_node.supervisor.launch import Isolation, Mount
view.enter(Isolation(sys.argv[1]), "probe")
view.arrange([Mount(sys.argv[2], "/muster-probe")], "/", sys.argv[3])
"""


def find_isolation() -> Isolation:
    """Tries what a container would need in a process that ends at once."""
    kind = Isolation.ROOT if os.geteuid() == 0 else Isolation.USER_NAMESPACE
    return kind if works(kind) else Isolation.NONE


def works(kind: Isolation) -> bool:
    """Whether this user may have such namespaces here."""
    root = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as folder:
        source, staging = Path(folder) / "source", Path(folder) / "staging"
        source.mkdir()
        staging.mkdir()
        command = [sys.executable, "-P", "-S", "-c", _PROBE, kind.value, str(source), str(staging)]
        try:
            done = subprocess.run(
                command, env={"PYTHONPATH": str(root)}, capture_output=True, timeout=_PROBE_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            # A machine too busy to tell: containers will say what does not work.
            return True
        except OSError:
            return False
    return done.returncode == 0
