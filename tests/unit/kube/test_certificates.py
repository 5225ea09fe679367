"""Certificates as strict verifiers want them, and when they are made anew."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from muster_kube.certificates import (
    CertificateError,
    KeyPair,
    bundle,
    expires_at,
    is_issued_by,
    make_authority,
    make_server_certificate,
    needs_rotation,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ["muster-webhook.muster-system.svc", "localhost", "127.0.0.1"]


def handshake(authority: bytes, server: KeyPair, name: str, folder: Path) -> None:
    """A TLS handshake in memory, verified as strictly as Python can."""
    (folder / "cert").write_bytes(server.certificate)
    (folder / "key").write_bytes(server.key)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "cert", folder / "key")
    trusting = ssl.create_default_context(cadata=authority.decode())
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server, server_hostname=name)
    ends = [client, serving.wrap_bio(to_server, to_client, server_side=True)]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert client.version() == "TLSv1.3"
    assert client.getpeercert()


@pytest.mark.parametrize("name", NAMES)
def test_strict_client_accepts_every_name(name: str, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    authority = make_authority("muster", now)
    handshake(authority.certificate, make_server_certificate(authority, NAMES, now), name, tmp_path)


def test_both_authorities_are_trusted_while_they_overlap(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    old, new = make_authority("muster", now), make_authority("muster", now)
    trusted = bundle([new.certificate, old.certificate, new.certificate], now)
    assert len(x509.load_pem_x509_certificates(trusted)) == 2
    for authority in (old, new):
        handshake(trusted, make_server_certificate(authority, NAMES, now), "localhost", tmp_path)


def test_stranger_is_refused(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    server = make_server_certificate(make_authority("other", now), NAMES, now)
    with pytest.raises(ssl.SSLError):
        handshake(make_authority("muster", now).certificate, server, "localhost", tmp_path)


def test_rotation_comes_with_age() -> None:
    leaf = make_server_certificate(make_authority("ca", NOW), NAMES, NOW, timedelta(days=90)).certificate
    assert not needs_rotation(leaf, NOW, NAMES)
    assert not needs_rotation(leaf, NOW + timedelta(days=59), NAMES)
    assert needs_rotation(leaf, NOW + timedelta(days=61), NAMES)
    assert needs_rotation(leaf, NOW + timedelta(days=365), NAMES)


def test_rotation_comes_with_a_new_name_or_with_damage() -> None:
    leaf = make_server_certificate(make_authority("ca", NOW), NAMES, NOW).certificate
    assert needs_rotation(leaf, NOW, [*NAMES, "10.0.0.1"])
    assert needs_rotation(leaf, NOW, ["elsewhere"])
    assert needs_rotation(leaf[:100], NOW)
    assert needs_rotation(b"", NOW)


def test_issuer_is_recognised_by_its_key_and_not_by_its_name() -> None:
    mine, other = make_authority("muster", NOW), make_authority("muster", NOW)
    leaf = make_server_certificate(mine, NAMES, NOW).certificate
    assert is_issued_by(leaf, mine.certificate)
    assert not is_issued_by(leaf, other.certificate)
    assert not is_issued_by(b"nonsense", mine.certificate)


def test_expired_authorities_leave_the_bundle() -> None:
    short = make_authority("short", NOW, timedelta(days=1))
    long = make_authority("long", NOW)
    assert bundle([short.certificate, b"nonsense", long.certificate], NOW + timedelta(days=2)) == long.certificate


def test_extensions_are_complete() -> None:
    authority = make_authority("muster", NOW)
    leaf = x509.load_pem_x509_certificate(make_server_certificate(authority, NAMES, NOW).certificate)
    for kind in (x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier, x509.KeyUsage, x509.ExtendedKeyUsage):
        assert leaf.extensions.get_extension_for_class(kind)
    assert expires_at(authority.certificate) == NOW + timedelta(days=730)


def test_unreadable_authority_is_an_error_of_ours() -> None:
    with pytest.raises(CertificateError):
        make_server_certificate(KeyPair(b"x", b"y"), NAMES, NOW)
