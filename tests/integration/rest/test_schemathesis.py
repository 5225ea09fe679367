"""Schemathesis, all checks, against the real door and routes; only the service behind them is a fake.

tests/integration/service has it in all phases on the real one. Here logs end, so that they are followed, too.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from bones.memory_pools import MemoryPools
from bones.rest_world import rest_world

HERE = Path(__file__).parent
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "10")


def program() -> Path:
    """Skipped on a laptop that has not installed it, never where it counts."""
    found = Path(sys.executable).with_name("schemathesis")
    if not found.exists() and not os.environ.get("CI"):
        pytest.skip("schemathesis is not installed")
    return found


@pytest.mark.timeout(600)
async def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    async with rest_world(tmp_path, MemoryPools()) as world:
        await world.submit()
        arguments = [
            "--config-file", str(HERE / "schemathesis.toml"), "run", f"{world.url}/openapi.json",
            "--header", f"Authorization: Bearer {world.token()}", "--phases", "fuzzing,stateful",
            "--max-examples", EXAMPLES, "--generation-database", "none", "--no-color", "--seed", "20260101",
        ]  # fmt: skip
        environment = os.environ | {"SCHEMATHESIS_HOOKS": "bones.schemathesis_hooks", "PYTHONPATH": python_path()}
        environment["LOGS_END"] = "yes"
        process = await asyncio.create_subprocess_exec(
            program(), *arguments, cwd=tmp_path, env=environment, stdout=asyncio.subprocess.PIPE
        )
        try:
            told, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0, told.decode(errors="replace")[-8000:]


def python_path() -> str:
    """The hooks lie beside the tests."""
    return os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
