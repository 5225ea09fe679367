"""Before anything is started, a person is told what training lacks."""

from __future__ import annotations

import sys
from pathlib import Path

from muster_local.worker import what_training_lacks


def environment(folder: Path, says: str) -> Path:
    """A worker environment whose Python answers this."""
    programs = folder / "bin"
    programs.mkdir()
    (programs / "muster-worker").touch()
    (programs / "python").write_text(f"#!{sys.executable}\n{says}\n")
    (programs / "python").chmod(0o700)
    return folder


def test_an_environment_that_was_never_made_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "bin" / "muster-worker") in what_training_lacks(tmp_path)


def test_the_missing_packages_are_named(tmp_path: Path) -> None:
    assert what_training_lacks(environment(tmp_path, "print('torch sklearn')")).endswith("lacks torch, sklearn")


def test_an_environment_that_does_not_run_is_told(tmp_path: Path) -> None:
    assert "does not run" in what_training_lacks(environment(tmp_path, "raise SystemExit(3)"))


def test_a_whole_environment_lacks_nothing(tmp_path: Path) -> None:
    assert what_training_lacks(environment(tmp_path, "print()")) == ""
