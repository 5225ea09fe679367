"""Where the control plane's programs are found, and when one is not good enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster_local.binaries import PROGRAMS, Candidate, candidates, parse_version, usable_candidates, version_of

GOOD = {
    "etcd": (3, 7),
    "kube-apiserver": (1, 37),
    "kube-controller-manager": (1, 37),
    "kube-scheduler": (1, 37),
    "kubectl": (1, 36),
    "kwok": (0, 8),
}


def found(**changes: tuple[int, int] | None) -> dict[str, Path]:
    versions = GOOD | {name.replace("_", "-"): version for name, version in changes.items()}
    return usable_candidates([Candidate(name, Path("/x") / name, version) for name, version in versions.items()])


def test_a_complete_set_is_used_whole() -> None:
    assert set(found()) == set(PROGRAMS)


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"etcd": (3, 4)}, {"etcd"}),
        ({"kwok": (0, 5)}, {"kwok"}),
        ({"kwok": None}, {"kwok"}),
        # kubectl follows the server that is built in place of the one refused.
        (
            {"kube_scheduler": (1, 36)},
            {"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"},
        ),
        (
            {"kube_apiserver": (1, 29), "kube_controller_manager": (1, 29), "kube_scheduler": (1, 29)},
            {"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"},
        ),
        ({"kubectl": (1, 35)}, {"kubectl"}),
        ({"kubectl": None}, {"kubectl"}),
    ],
    ids=[
        "etcd too old",
        "kwok too old",
        "something else called kwok",
        "control plane of two versions",
        "Kubernetes too old",
        "kubectl two versions away",
        "kubectl that does not tell",
    ],
)
def test_what_does_not_fit_is_left_out(changes: dict[str, tuple[int, int] | None], missing: set[str]) -> None:
    assert set(PROGRAMS) - set(found(**changes)) == missing


def test_the_assets_folder_comes_before_the_path(tmp_path: Path) -> None:
    for folder in ("assets", "bin"):
        program = tmp_path / folder / "etcd"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\necho etcd Version: 3.6.1\n")
        program.chmod(0o755)
    environment = {"KUBEBUILDER_ASSETS": str(tmp_path / "assets"), "PATH": str(tmp_path / "bin")}
    assert usable_candidates(candidates(environment)) == {"etcd": tmp_path / "assets" / "etcd"}


def test_a_program_that_fails_has_no_version(tmp_path: Path) -> None:
    program = tmp_path / "kwok"
    program.write_text("#!/bin/sh\necho kwok version v0.8.0; exit 1\n")
    program.chmod(0o755)
    assert version_of("kwok", program) is None


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Kubernetes v1.37.0\n", (1, 37)),
        ("etcd Version: 3.7.1\nGit SHA: none", (3, 7)),
        ("kwok version v0.8.0 go1.26.8 (linux/amd64)", (0, 8)),
        ("Client Version: v1.32.4-dispatcher\n", (1, 32)),
        ("usage: kwok", None),
    ],
)
def test_versions_are_read_as_each_program_prints_them(text: str, version: tuple[int, int] | None) -> None:
    assert parse_version(text) == version
