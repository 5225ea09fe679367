"""The repository guards itself: no package shadows the standard library, nothing of one machine is in a file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = frozenset({".png", ".ico", ".woff2"})

# Put together from pieces, so that this file does not find itself.
MACHINE_PATHS = [
    "/" + "work/",
    "/" + "root/",
    "/" + "home/[a-z]",
    "/" + "Users/[A-Za-z]",
    "/tmp/" + "bash",
    "/tmp/" + "muster/",
]
DOWNLOAD_ADDRESSES = [
    "py" + "pi\\.org",
    "files\\.python" + "hosted",
    "proxy\\.gol" + "ang",
    "sum\\.gol" + "ang",
    "dl\\.k8s" + "\\.io",
    "storage\\.google" + "apis",
    "registry\\.k8s" + "\\.io",
    "registry\\.npm" + "js",
    "artifact" + "ory",
    "--(extra-)?index" + "-url[= ]",
]
FORBIDDEN = re.compile("|".join(MACHINE_PATHS + DOWNLOAD_ADDRESSES))


def tracked_files() -> list[Path]:
    """What a clone of this repository contains."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        assert os.environ.get("CI") != "true", "CI has to look at what a clone contains"
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_no_package_lies_directly_in_a_top_level_folder() -> None:
    """A queue/__init__.py would shadow the standard library's queue and break asyncio."""
    tracked = tracked_files()
    misplaced = [path for path in tracked if path.name == "__init__.py" and len(path.relative_to(ROOT).parts) < 3]
    misplaced += [path for path in tracked if path.name == "__init__.py" and path.is_relative_to(ROOT / "tests")]
    assert misplaced == []


def test_the_standard_librarys_queue_is_importable_from_the_root() -> None:
    code = "import queue, asyncio; assert hasattr(queue, 'SimpleQueue')"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_no_machine_path_or_download_address_is_tracked() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in tracked_files()
        if path.suffix not in BINARY and path.name != "go.sum"
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if FORBIDDEN.search(line)
    ]
    assert found == []


def test_source_files_are_not_longer_than_agreed() -> None:
    longest = {
        str(path.relative_to(ROOT)): lines
        for path in tracked_files()
        if path.suffix == ".py" and (lines := len(path.read_text().splitlines())) > 500
    }
    assert longest == {}


def test_import_contracts_hold() -> None:
    """The arrows between the packages, as import-linter reads them from pyproject.toml."""
    program = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
