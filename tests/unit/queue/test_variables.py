"""What is wrong with a setting is told at once, in a line that names its variable and quotes no password."""

from __future__ import annotations

import pytest

from muster_queue.__main__ import USAGE, main

GOOD = {"MUSTER_DATABASE_URL": "postgresql://user:s3cret@host/muster", "MUSTER_REDIS_URL": "redis://:s3cret@host"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def complaint(role: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([role]) == USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert "s3cret" not in line
    return line


@pytest.mark.parametrize("role", ["api", "controller"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MUSTER_LISTEN_PORT", "many"),
        ("MUSTER_LOG_LEVEL", "loud"),
        ("MUSTER_DATABASE_URL", "user s3cret host"),
        ("MUSTER_DATABASE_CONNECTIONS", "0"),
        ("MUSTER_REDIS_URL", "redis://:s3cret/s3cret@host"),
        ("MUSTER_REDIS_URL", "host"),
        ("MUSTER_REDIS_MODE", "s3cret"),
        ("MUSTER_REDIS_SENTINELS", "host s3cret"),
    ],
)
def test_both_roles_name_the_variable(
    role: str, name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    assert complaint(role, capsys).startswith(f"muster-queue: {name}: ")


@pytest.mark.parametrize(
    ("role", "name", "value"),
    [
        ("controller", "MUSTER_DISPATCH_WINDOW", "0"),
        ("controller", "MUSTER_DISPATCH_INTERVAL", "soon"),
        ("controller", "MUSTER_GPU_RESOURCES", "example.com/gpu"),
        ("api", "MUSTER_POOL_LEASE_SECONDS", "0"),
        ("api", "MUSTER_INTAKE_FLUSHERS", "9"),
        ("api", "MUSTER_TENANT_BURST_JOBS", "0"),
        ("api", "MUSTER_TOKEN_ISSUERS", '[{"keys": "/keys", "username_prefix": "", "groups_prefix": ""}]'),
    ],
)
def test_each_role_names_its_own(
    role: str, name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    assert complaint(role, capsys).startswith(f"muster-queue: {name}")


def test_sentinels_have_to_be_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MUSTER_REDIS_MODE", "sentinel")
    assert "MUSTER_REDIS_SENTINELS: name at least one" in complaint("controller", capsys)


@pytest.mark.parametrize("name", GOOD)
def test_an_api_needs_both_addresses(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(name)
    assert f"{name}: is missing" in complaint("api", capsys)


def test_the_controller_lists_what_it_reads(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["controller", "--help"])
    told = capsys.readouterr().out
    for name in ("MUSTER_PLAN_INTERVAL", "MUSTER_DISPATCH_WINDOW", "MUSTER_DATABASE_CONNECTIONS", "MUSTER_REDIS_MODE"):
        assert told.count(name) == 1
