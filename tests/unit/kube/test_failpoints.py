"""Failpoints do what the environment says, and nothing at all without it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from muster_kube import failpoints
from muster_kube.failpoints import Action, FailpointError, from_environment, parse

PROGRAM = """
import asyncio
from muster_kube import failpoints

async def main():
    for number in range(3):
        await failpoints.hit("step")
        print(number, flush=True)

asyncio.run(main())
"""


def start(spec: str, log: Path) -> subprocess.Popen[str]:
    environment = os.environ | {
        "MUSTER_FAILPOINTS": spec,
        "MUSTER_FAILPOINTS_LOG": str(log),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, text=True)


def test_several_points_are_read() -> None:
    assert parse("a.b=kill; c@3=pause ;d=raise;") == {
        ("a.b", 1): Action.KILL,
        ("c", 3): Action.PAUSE,
        ("d", 1): Action.RAISE,
    }


@pytest.mark.parametrize("text", ["a", "=kill", "a@x=kill", "a=explode", "a@=", "a@-1=kill"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


async def test_off_without_the_variable() -> None:
    hit = from_environment({"MUSTER_FAILPOINTS_LOG": "/nonexistent/log"})
    await hit("anything")
    assert failpoints.hit is from_environment({}), "this very process runs without any"


async def test_raises_at_the_counted_hit_and_logs_each(tmp_path: Path) -> None:
    log = tmp_path / "hits"
    hit = from_environment({"MUSTER_FAILPOINTS": "a@2=raise", "MUSTER_FAILPOINTS_LOG": str(log)})
    await hit("a")
    await hit("b", count=2)
    with pytest.raises(FailpointError):
        await hit("a")
    await hit("a")
    assert log.read_text().splitlines() == ["a 1 -", "b 2 -", "a 2 raise", "a 3 -"]


async def test_the_callers_own_count_decides() -> None:
    hit = from_environment({"MUSTER_FAILPOINTS": "a@7=raise"})
    await hit("a", count=6)
    with pytest.raises(FailpointError):
        await hit("a", count=7)


def test_kill_is_sigkill_at_that_very_point(tmp_path: Path) -> None:
    log = tmp_path / "hits"
    with start("step@2=kill", log) as process:
        output, _ = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert output.split() == ["0"]
    assert log.read_text().splitlines()[-1] == "step 2 kill"


def test_pause_waits_for_sigcont(tmp_path: Path) -> None:
    with start("step@1=pause", tmp_path / "hits") as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        output, _ = process.communicate(timeout=30)
    assert output.split() == ["0", "1", "2"]
