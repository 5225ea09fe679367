"""The one line that Kubernetes shows as the reason of a container's end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PATH_VARIABLE = "MUSTER_TERMINATION_LOG"
_KUBERNETES_PATH = "/dev/termination-log"
_MOST_BYTES = 4096


def write_termination_message(environment: Mapping[str, str], message: str) -> None:
    """To MUSTER_TERMINATION_LOG, else to Kubernetes' own place if that exists; without either nothing is lost."""
    named = environment.get(PATH_VARIABLE, "")
    path = Path(named or _KUBERNETES_PATH)
    if not named and not path.exists():
        return
    line = " ".join(message.split()).encode()[: _MOST_BYTES - 1].decode(errors="ignore")
    try:
        path.write_text(f"{line}\n")
    except OSError:
        # Not writable: the log has said the same.
        return
