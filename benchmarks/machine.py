"""What a figure was measured on: printed above every result, for a figure without its machine says nothing."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path


def describe() -> str:
    """Processor, cores, memory, kernel and load of this machine, in one line."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    python = f"{platform.python_version()} of {sys.base_prefix}"
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.release()}, Python {python}, load {load}"


def cpu_seconds(pid: int) -> float:
    """User and system time that a process and its reaped children have used, from the kernel's own accounting."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def cpu_seconds_of_tree(pid: int) -> float:
    """The same for a process with its living children: a supervised server is its supervisor's child."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return cpu_seconds(pid) + sum(cpu_seconds_of_tree(int(child)) for child in children)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
