"""Every Lua file is documented, small, and called by somebody."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from muster_queue import index
from muster_queue.index.lua import MOST_JOBS, script

FOLDER = Path(str(index.__file__)).parent
FILES = sorted((FOLDER / "scripts").glob("*.lua"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_head_says_what_is_given_and_returned(path: Path) -> None:
    source = path.read_text()
    head = "\n".join(line for line in source.splitlines() if line.startswith("--"))
    used = {int(number) for number in re.findall(r"KEYS\[(\d+)\]", source)}
    for number in used:
        assert f"-- KEYS[{number}]  " in head
    assert used == set(range(1, len(used) + 1))
    assert "Returns" in head
    assert "ARGV" not in source or "-- ARGV" in head
    if "and so on, up to" in head:
        assert f"up to {MOST_JOBS} jobs" in head


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_keys_are_given_and_clocks_are_the_servers(path: Path) -> None:
    source = path.read_text()
    assert not re.search(r"redis\.call\('(KEYS|SCAN|FLUSH\w+|CONFIG)'", source)
    assert not re.search(r"redis\.call\('\w+', '", source.replace("redis.call('INFO', '", ""))
    assert "os." not in source


def test_every_script_is_called() -> None:
    text = "".join(path.read_text() for path in FOLDER.glob("*.py"))
    assert [path.stem for path in FILES if f'"{path.stem}"' not in text] == []


def test_a_script_is_known_by_the_digest_that_the_server_gives_it() -> None:
    assert script("add").digest == script("add").digest
    assert len(script("add").digest) == 40
