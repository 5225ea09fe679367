"""The supervisor above a container, on its own: no control plane is needed for what it promises."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bones.control_plane import wait_until
from bones.process_world import pod
from muster_local.process_node.attempts import Run
from muster_local.process_node.cleanup import end_pod
from muster_local.process_node.decisions import Exit
from muster_local.process_node.isolation import works
from muster_local.process_node.supervisor.launch import Isolation, Launch, Mount

CONTAINER = pod().spec.containers[0]
PATIENCE = 60.0


@pytest.fixture(params=list(Isolation))
def isolation(request: pytest.FixtureRequest) -> Isolation:
    kind: Isolation = request.param
    if kind is not Isolation.NONE and not works(kind):
        assert os.environ.get("CI") != "true", f"{kind} has to be tested, and nobody here may have it"
        pytest.skip(f"this machine lets nobody here have {kind}")
    return kind


def launch(folder: Path, *argv: str, isolation: Isolation = Isolation.NONE, mounts: tuple[Mount, ...] = ()) -> Launch:
    return Launch(
        argv=list(argv),
        environment={"PATH": os.environ["PATH"]},
        working_directory=str(folder),
        hostname="rank-0",
        isolation=isolation,
        mounts=list(mounts),
    )


def run_in(folder: Path) -> Run:
    return Run(folder / "containers" / "main" / "0", 0)


async def ended(run: Run) -> Exit:
    over = asyncio.Event()
    run.watch(over.set)
    async with asyncio.timeout(PATIENCE):
        await over.wait()
    found = run.exit(CONTAINER)
    assert found is not None
    return found


def output(run: Run) -> list[str]:
    return [line.split(" ", 3)[3] for line in (run.folder / "log").read_text().splitlines()]


async def test_exit_code_and_output_are_kept(tmp_path: Path, isolation: Isolation) -> None:
    run = run_in(tmp_path)
    await run.start(launch(tmp_path, "sh", "-c", "echo out; echo err >&2; pwd; exit 7", isolation=isolation))
    result = await ended(run)
    assert (result.code, result.reason) == (7, "Error")
    assert sorted(output(run)) == sorted(["out", "err", str(tmp_path)])


@pytest.mark.parametrize("isolation", [kind for kind in Isolation if kind is not Isolation.NONE], indirect=True)
async def test_mounts_are_private_and_may_be_read_only(tmp_path: Path, isolation: Isolation) -> None:
    (tmp_path / "hosts").write_text("127.64.0.1 rank-0\n")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "file").write_text("text")
    (tmp_path / "last").touch()
    (tmp_path / "scratch").mkdir()
    mounts = (
        Mount(str(tmp_path / "hosts"), "/etc/hosts"),
        Mount(str(tmp_path / "config"), "/muster-test/config", read_only=True),
        Mount(str(tmp_path / "scratch"), "/muster-test/config-free"),
        Mount(str(tmp_path / "last"), "/dev/termination-log"),
    )
    script = (
        "cat /etc/hosts /muster-test/config/file; echo; hostname; "
        "touch /muster-test/config/new 2>/dev/null || echo closed; "
        "touch /muster-test/config-free/new && echo open; echo bye > /dev/termination-log; echo x > /dev/null"
    )
    run = run_in(tmp_path)
    await run.start(launch(tmp_path, "sh", "-c", script, isolation=isolation, mounts=mounts))
    result = await ended(run)
    assert output(run) == ["127.64.0.1 rank-0", "text", "rank-0", "closed", "open"]
    assert result.code == 0
    assert await asyncio.to_thread((tmp_path / "last").read_text) == "bye\n"
    assert not await asyncio.to_thread(Path("/muster-test").exists)
    assert str(tmp_path) not in await asyncio.to_thread(Path("/proc/self/mountinfo").read_text)


async def test_what_a_container_leaves_behind_is_killed(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    code = "import os, time\nif os.fork() == 0:\n os.setsid()\n print(os.getpid(), flush=True)\n time.sleep(600)"
    await run.start(launch(tmp_path, sys.executable, "-c", f"{code}\nelse:\n time.sleep(1)"))
    await ended(run)
    [orphan] = output(run)
    wait_until(_is_gone(int(orphan)), 10, "the orphan's end")


async def test_what_cannot_be_started_says_why(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    await run.start(launch(tmp_path, "no-such-program"))
    result = await ended(run)
    assert (result.code, result.reason) == (128, "StartError")
    assert "no-such-program" in result.message


async def test_signals_reach_the_whole_group(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    await run.start(launch(tmp_path, "sh", "-c", "sleep 600 & wait"))
    run.terminate()
    assert (await ended(run)).signal == signal.SIGTERM


async def test_another_agent_finds_a_run_and_its_end(tmp_path: Path) -> None:
    await run_in(tmp_path).start(launch(tmp_path, "sh", "-c", "sleep 1; exit 5"))
    found = run_in(tmp_path)
    assert found.is_begun()
    assert found.ended() is None
    assert (await ended(found)).code == 5


async def test_a_killed_supervisor_takes_its_container_along(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    await run.start(launch(tmp_path, "sh", "-c", "sleep 600 & wait"))
    running = run.running()
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    assert (await ended(run)).code == 137
    wait_until(_is_gone(running.child), 10, "the container's end")


async def test_what_a_container_of_a_killed_supervisor_leaves_behind_is_killed(
    tmp_path: Path, isolation: Isolation
) -> None:
    run = run_in(tmp_path)
    await run.start(launch(tmp_path, "sh", "-c", "sleep 600 & echo $!; wait", isolation=isolation))
    await asyncio.to_thread(wait_until, lambda: output(run), 10, "the number of what will be left")
    running = run.running()
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    assert (await ended(run)).code == 137
    wait_until(_is_gone(int(output(run)[0])), 10, "the end of what was left")


def _is_gone(pid: int) -> Callable[[], bool]:
    def check() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except FileNotFoundError:
            return True

    return check


async def test_cleaning_up_ends_the_stubborn(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    await run.start(launch(tmp_path, "sh", "-c", "trap '' TERM; while true; do sleep 0.1; done"))
    assert await asyncio.to_thread(end_pod, tmp_path, 0.5) == 1
    assert (await ended(run)).signal == signal.SIGKILL
    assert await asyncio.to_thread(end_pod, tmp_path, 0.5) == 0
