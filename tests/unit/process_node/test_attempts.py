"""What a run whose supervisor is gone has left behind is ended, and nobody else who has got its number since."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from muster_local.process_node.attempts import Run
from muster_local.process_node.supervisor.identity import boot, group_members, look_up, mount_namespace
from muster_local.process_node.supervisor.launch import LOCK_FILE, RUNNING_FILE, Running, write

GONE = 2**22 + 1
"""More than any process is numbered."""
MOMENT = "2026-01-01T00:00:00+00:00"


class Group:
    """A process group without a leader, as a container may leave one behind."""

    def __init__(self, *, has_session: bool = True) -> None:
        line = ["sh", "-c", "sleep 600 & echo $!"]
        done = subprocess.Popen(
            line, stdout=subprocess.PIPE, start_new_session=has_session, process_group=None if has_session else 0
        )
        assert done.stdout is not None
        self.member = int(done.stdout.readline())
        found = look_up(done.pid)
        self.number = done.pid
        self.start = found.start if found is not None else 0
        done.stdout.close()
        done.wait()

    @property
    def is_alive(self) -> bool:
        found = look_up(self.member)
        return found is not None and found.state != "Z"

    def running(self) -> Running:
        return Running(GONE, 1, self.number, self.start, MOMENT, boot(), mount_namespace(self.member))

    def is_killed(self) -> bool:
        deadline = time.monotonic() + 10
        while self.is_alive and time.monotonic() < deadline:
            time.sleep(0.01)
        return not self.is_alive

    def end(self) -> None:
        if self.is_alive:
            os.kill(self.member, signal.SIGKILL)


@pytest.fixture
def group() -> Iterator[Group]:
    made = Group()
    yield made
    made.end()


def ended(folder: Path, running: Running) -> int:
    """The exit code of a run whose supervisor has vanished."""
    (folder / LOCK_FILE).touch()
    write(folder / RUNNING_FILE, running)
    found = Run(folder, 0).ended()
    assert found is not None
    return found.exit_code


def test_what_is_left_of_a_lost_run_is_killed(tmp_path: Path, group: Group) -> None:
    assert group_members(group.number).keys() == {group.member}
    assert ended(tmp_path, group.running()) == 137
    assert group.is_killed()


@pytest.mark.parametrize("told", ["another", ""])
def test_after_a_reboot_nothing_is_killed(tmp_path: Path, group: Group, told: str) -> None:
    assert ended(tmp_path, replace(group.running(), boot=told)) == 137
    assert group.is_alive


@pytest.mark.parametrize("changes", [{"namespace": "mnt:[1]"}, {"namespace": ""}, {"child_start": 2**62}])
def test_a_group_of_strangers_with_that_number_is_left_alone(
    tmp_path: Path, group: Group, changes: dict[str, str | int]
) -> None:
    running = Running(**vars(group.running()) | changes)
    assert ended(tmp_path, running) == 137
    assert group.is_alive


def test_a_group_of_another_session_is_left_alone(tmp_path: Path) -> None:
    group = Group(has_session=False)
    try:
        assert ended(tmp_path, group.running()) == 137
        assert group.is_alive
    finally:
        group.end()


def test_a_stranger_with_the_leaders_number_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as stranger:
        running = Running(GONE, 1, stranger.pid, 1, MOMENT, boot(), mount_namespace(stranger.pid))
        assert ended(tmp_path, running) == 137
        assert stranger.poll() is None
        stranger.kill()


def test_a_supervisor_of_before_the_reboot_gets_no_signal(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as stranger:
        found = look_up(stranger.pid)
        assert found is not None
        write(tmp_path / RUNNING_FILE, Running(stranger.pid, found.start, GONE, 1, MOMENT))
        Run(tmp_path, 0).terminate()
        assert stranger.poll() is None
        stranger.kill()
