"""The state folder: keys, ports and the instance's record."""

from __future__ import annotations

import socket
import ssl
from contextlib import closing
from pathlib import Path

import pytest
from cryptography import x509

from muster_local import instance as records
from muster_local.components import PORT_BLOCK_SIZE
from muster_local.credentials import ensure_static_tokens
from muster_local.errors import InstanceMissingError, LocalError
from muster_local.layout import StateLayout
from muster_local.options import ClusterOptions
from muster_local.pki import ensure_node_certificates, ensure_pki, node_client
from muster_local.ports import block_is_free, claim_block, release_block
from muster_local.processes import ProcessRecord


@pytest.fixture
def layout(tmp_path: Path) -> StateLayout:
    made = StateLayout(tmp_path / "state")
    made.make()
    return made


def test_keys_are_for_their_owner_alone_and_survive_a_restart(layout: StateLayout) -> None:
    ensure_pki(layout)
    before = {path.name: path.read_bytes() for path in layout.pki.iterdir()}
    ensure_pki(layout)
    assert {path.name: path.read_bytes() for path in layout.pki.iterdir()} == before
    assert all(path.stat().st_mode & 0o077 == 0 for path in layout.pki.iterdir())
    assert layout.root.stat().st_mode & 0o077 == 0


def test_a_serving_certificate_is_trusted_on_loopback(layout: StateLayout) -> None:
    ensure_pki(layout)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(layout.certificate("kube-apiserver"), layout.private_key("kube-apiserver"))
    client = ssl.create_default_context(cafile=str(layout.certificate("ca")))
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    there = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for side in (here, there):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert here.getpeercert() is not None


def test_tokens_survive_a_restart_and_differ(layout: StateLayout) -> None:
    ensure_pki(layout)
    ensure_static_tokens(layout, "https://127.0.0.1:1")
    before = (layout.tokens / "static.csv").read_text()
    ensure_static_tokens(layout, "https://127.0.0.1:1")
    assert (layout.tokens / "static.csv").read_text() == before
    tokens = [line.split(",")[0] for line in before.splitlines()]
    assert len(set(tokens)) == len(tokens) == 4
    assert layout.kubeconfig("admin").exists()


def test_two_instances_never_share_a_port(tmp_path: Path) -> None:
    claims = tmp_path / "claims"
    starts = set()
    for name in ("a", "b", "c"):
        state = tmp_path / name
        state.mkdir()
        (state / "instance.json").write_text("{}")
        starts.add(claim_block(state, claims))
    assert len(starts) == 3


def test_a_removed_instance_gives_its_ports_back(tmp_path: Path) -> None:
    claims = tmp_path / "claims"
    start = claim_block(tmp_path / "a", claims)
    release_block(start, tmp_path / "b", claims)
    assert (claims / str(start)).exists()
    release_block(start, tmp_path / "a", claims)
    assert not (claims / str(start)).exists()


def test_a_port_in_use_spoils_its_block(tmp_path: Path) -> None:
    start = claim_block(tmp_path / "a", tmp_path / "claims")
    assert block_is_free(start)
    with closing(socket.create_server(("127.0.0.1", start + PORT_BLOCK_SIZE - 1))):
        assert not block_is_free(start)


def test_the_record_is_read_as_it_was_written(layout: StateLayout) -> None:
    instance = records.new_instance(ClusterOptions(nodes=7, without=("kwok",)), 20_000)
    instance.processes["etcd"] = ProcessRecord(1, 2.5, ["/bin/etcd", "--name=x"])
    records.save(layout, instance)
    assert records.load(layout) == instance
    assert b'"firstPort": 20000' in layout.instance_file.read_bytes()


def test_no_record_says_how_to_get_one(layout: StateLayout) -> None:
    with pytest.raises(InstanceMissingError, match="muster local up"):
        records.load(layout)
    layout.instance_file.write_text("{")
    with pytest.raises(LocalError, match="not an instance record"):
        records.load(layout)


def test_removing_an_instance_leaves_what_is_not_its_own(layout: StateLayout) -> None:
    stranger = layout.root / "thesis.tex"
    stranger.write_text("years of work")
    layout.remove()
    assert list(layout.root.iterdir()) == [stranger]
    stranger.unlink()
    layout.remove()
    assert not layout.root.exists()


def test_a_process_node_shows_who_it_is(layout: StateLayout) -> None:
    ensure_pki(layout)
    ensure_node_certificates(layout, "process-node-0")
    certificate = x509.load_pem_x509_certificate(layout.certificate(node_client("process-node-0")).read_bytes())
    assert certificate.subject.rfc4514_string() == "CN=system:node:process-node-0,O=system:nodes"
    before = layout.certificate("process-node-0").read_bytes()
    ensure_node_certificates(layout, "process-node-0")
    assert layout.certificate("process-node-0").read_bytes() == before
