"""Building the components: once, whole or not at all, and with an error that helps. Go is a script here."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from muster_local import build
from muster_local.build import build_missing, built_path, go_caches
from muster_local.errors import BinariesMissingError, BuildFailedError
from muster_local.progress import Progress

QUIET = Progress(quiet=True)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(build, "cache_dir", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def install_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """A `go` on PATH that notes its calls and writes to the file after -o."""
    calls = tmp_path / "calls"
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text(f'#!/bin/sh\necho "$7 $GOMODCACHE" >> {calls}\nmkdir -p "$GOMODCACHE"\n{script}\n')
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
    return calls


def test_what_is_built_is_found_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = install_go(tmp_path, monkeypatch, 'echo built > "$6"')
    first = build_missing(["etcd", "kwok"], QUIET)
    assert first == build_missing(["etcd", "kwok"], QUIET)
    assert all(path.read_text() == "built\n" for path in first.values())
    assert [line.split()[0] for line in calls.read_text().splitlines()] == [
        "go.etcd.io/etcd/server/v3",
        "sigs.k8s.io/kwok/cmd/kwok",
    ]


def test_go_leaves_nothing_behind_outside_or_inside(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = install_go(tmp_path, monkeypatch, 'echo built > "$6"')
    build_missing(["etcd"], QUIET)
    assert calls.read_text().split()[1] == str(own_cache / "go" / "mod")
    assert not go_caches().exists()
    assert sorted(path.name for path in own_cache.iterdir()) == ["build.lock", "components"]


def test_two_at_once_build_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = install_go(tmp_path, monkeypatch, 'sleep 0.3; echo built > "$6"')
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda _: build_missing(["etcd"], QUIET), range(3)))
    assert len(calls.read_text().splitlines()) == 1


def test_a_failed_build_shows_what_go_said_and_leaves_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_go(tmp_path, monkeypatch, 'echo half > "$6"; echo "no space left" >&2; exit 1')
    with pytest.raises(BuildFailedError, match="no space left"):
        build_missing(["etcd"], QUIET)
    assert not built_path("etcd").exists()
    assert list(built_path("etcd").parent.iterdir()) == []


def test_without_go_the_error_lists_the_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BinariesMissingError) as caught:
        build_missing(["kwok"], QUIET)
    text = str(caught.value)
    assert "missing: kwok" in text
    assert all(way in text for way in ("KUBEBUILDER_ASSETS", "PATH", "install Go", "copy them"))


def test_the_cache_folder_follows_the_module_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = built_path("etcd")
    monkeypatch.setattr(build, "MODULES", tmp_path)
    (tmp_path / "etcd").mkdir()
    for file in ("go.mod", "go.sum"):
        (tmp_path / "etcd" / file).write_text("other")
    assert built_path("etcd") != before
