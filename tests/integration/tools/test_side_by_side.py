"""Suites that run at once: whose line is whose, whether all passed, and nothing left when they are told to end."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[3] / "tools" / "side-by-side"
MAKEFILE = """
fine:
	@echo all is well
broken:
	@echo something is wrong; exit 3
patient:
	@exec python3 -c 'import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("gone"))); \
	print("here", flush=True); signal.pause()'
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    return tmp_path


def start(folder: Path, *targets: str) -> subprocess.Popen[str]:
    return subprocess.Popen([TOOL, *targets], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_each_line_says_whose_it_is(folder: Path) -> None:
    with start(folder, "fine", "fine") as both:
        output, errors = both.communicate(timeout=30)
    assert (both.returncode, errors) == (0, "")
    assert sorted(output.splitlines()) == ["fine: all is well"] * 2 + ["fine: passed"] * 2


def test_one_failure_fails_all(folder: Path) -> None:
    with start(folder, "fine", "broken") as both:
        output, _ = both.communicate(timeout=30)
    assert both.returncode == 2
    assert output.splitlines()[-2:] == ["fine: passed", "broken: FAILED"]
    assert "broken: something is wrong" in output


def test_what_is_told_to_end_ends_its_targets(folder: Path) -> None:
    with start(folder, "patient", "fine") as both:
        assert both.stdout is not None
        while both.stdout.readline() != "patient: here\n":
            assert both.poll() is None
        both.send_signal(signal.SIGTERM)
        output, _ = both.communicate(timeout=30)
    assert both.returncode != 0
    assert "patient: gone" in output
