"""Tokens of a local instance: the real verifier believes them, and RBAC knows their users."""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bones.clock import ManualClock
from muster_local import app
from muster_local.cluster import Cluster
from muster_local.errors import LocalError
from muster_local.layout import StateLayout
from muster_local.token_issuer import Role, User, bindings, ensure_issuer, issuer_settings, make_token
from muster_queue.identity.errors import Unauthenticated
from muster_queue.identity.issuer_tokens import IssuerVerifier
from muster_queue.identity.keys import KeyRing, keys_of
from muster_queue.identity.settings import IdentitySettings

ANN = User("ann", "vision")


@pytest.fixture
def layout(tmp_path: Path) -> StateLayout:
    layout = StateLayout(tmp_path / "state")
    layout.make()
    ensure_issuer(layout)
    return layout


def verifier(layout: StateLayout, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> IssuerVerifier:
    """As an api makes it that was started with the environment of this instance."""
    for name, value in issuer_settings(layout).items():
        monkeypatch.setenv(name, value)
    (issuer,) = IdentitySettings().token_issuers
    return IssuerVerifier(issuer, KeyRing(issuer.issuer, keys_of(issuer), clock), clock)


async def test_an_api_of_the_instance_believes_its_tokens(layout: StateLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    judge = verifier(layout, clock, monkeypatch)
    token = make_token(layout, ANN, clock.now(), timedelta(hours=1))
    caller = await judge.verify(token)
    assert (caller.name, caller.namespace, caller.groups) == ("local:ann", "vision", ("system:authenticated",))
    assert caller.expires == clock.now().timestamp() + 3600
    clock.advance(3700)
    with pytest.raises(Unauthenticated, match="expired"):
        await judge.verify(token)


async def test_tokens_of_another_instance_are_worth_nothing(
    layout: StateLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, clock = StateLayout(tmp_path / "other"), ManualClock()
    other.make()
    ensure_issuer(other)
    with pytest.raises(Unauthenticated):
        await verifier(layout, clock, monkeypatch).verify(make_token(other, ANN, clock.now()))


def test_the_key_stays_the_same_and_is_its_owners_alone(layout: StateLayout) -> None:
    key = layout.private_key("token-issuer")
    before = key.read_bytes()
    ensure_issuer(layout)
    assert key.read_bytes() == before
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    (public,) = json.loads((layout.config / "token-issuer.jwks.json").read_text())["keys"]
    assert set(public) == {"kty", "crv", "x", "kid", "use", "alg"}


def test_a_user_gets_a_role_where_their_jobs_go() -> None:
    role, clusters = bindings(ANN)
    assert (role["kind"], role["metadata"]["namespace"], role["roleRef"]["name"]) == ("RoleBinding", "vision", "edit")
    assert (clusters["kind"], clusters["roleRef"]["name"]) == ("ClusterRoleBinding", "muster-cluster-view")
    assert {each["subjects"][0]["name"] for each in (role, clusters)} == {"local:ann"}
    (everything,) = bindings(User("ann", "vision", Role.CLUSTER_ADMIN))
    assert (everything["kind"], everything["roleRef"]["name"]) == ("ClusterRoleBinding", "cluster-admin")


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 201])
def test_strange_names_are_refused(name: str) -> None:
    with pytest.raises(LocalError):
        User(name, "default")


@dataclass
class Recorder:
    applied: list[dict[str, Any]] = field(default_factory=list)

    def apply(self, document: dict[str, Any]) -> None:
        self.applied.append(document)


def test_the_command_prints_a_token_and_binds_its_user(layout: StateLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    monkeypatch.setattr(Cluster, "client", recorder)
    command = ["local", "token", "--user", "ann", "--namespace", "vision", "--state-dir", str(layout.root)]
    done = CliRunner().invoke(app.app, command)
    assert (done.exit_code, done.stdout.count("."), len(done.stdout.splitlines())) == (0, 2, 1)
    assert recorder.applied == bindings(ANN)
