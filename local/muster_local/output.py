"""What the command line prints: tables for people, JSON for programs."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from muster_local.doctor import Finding, Verdict
from muster_local.status import ClusterStatus


class OutputFormat(StrEnum):
    """The choices of -o."""

    TABLE = "table"
    JSON = "json"


_VERDICT_STYLES = {Verdict.GOOD: "green", Verdict.WARNING: "yellow", Verdict.BAD: "red"}


def console() -> Console:
    """Made when needed: a test or a pipe may have replaced standard output since the import."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True)


def print_line(text: str) -> None:
    """One plain line that a script can take as it is."""
    sys.stdout.write(f"{text}\n")


def print_json(value: Any) -> None:
    """Indented JSON with a final line end."""
    encoded = msgspec.json.format(msgspec.json.encode(value), indent=2)
    sys.stdout.write(f"{encoded.decode()}\n")


def print_status(status: ClusterStatus, output: OutputFormat) -> None:
    """The state of an instance."""
    if output is OutputFormat.JSON:
        print_json(status)
        return
    table = Table("component", "state", "pid", "url", box=None)
    for component in status.components:
        state = "[green]running[/]" if component.running else "[red]stopped[/]"
        table.add_row(component.name, state, str(component.pid or "-"), component.url)
    screen = console()
    screen.print(table)
    screen.print(f"\nsimulated nodes  {status.nodes.simulated}")
    if status.nodes.process:
        screen.print(f"process nodes    {status.nodes.process}")
    screen.print(f"state            {status.state_dir}")
    screen.print(f"kubeconfig       {status.kubeconfig}")


def print_findings(findings: list[Finding], output: OutputFormat) -> None:
    """What the doctor found, with what to do."""
    if output is OutputFormat.JSON:
        print_json(findings)
        return
    screen = console()
    for finding in findings:
        style = _VERDICT_STYLES[finding.verdict]
        screen.print(f"[{style}]{finding.verdict.value:7}[/] {escape(f'{finding.subject}: {finding.detail}')}")
        if finding.remedy:
            screen.print(escape(f"        -> {finding.remedy}"))
