"""Certificates for our own TLS ends: pure functions from bytes and a moment to bytes.

EC P-256, with key identifiers, key usage and names as Go's and Python's strict verifiers want them. The CA is rotated
by overlap: clients trust old and new together (`bundle`) before the first leaf of the new one is served.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from muster_kube.errors import KubeError

BACKDATED: Final = timedelta(minutes=5)
"""Certificates begin a little in the past: the other side's clock may be behind ours."""

CA_LIFETIME: Final = timedelta(days=730)
LEAF_LIFETIME: Final = timedelta(days=90)


class CertificateError(KubeError):
    """Bytes that should be a PEM certificate or key are not."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


def make_authority(common_name: str, now: datetime, lifetime: timedelta = CA_LIFETIME) -> KeyPair:
    """A self-signed CA that may sign leaves only."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (
        _builder(name, name, key.public_key(), now, lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return _signed(builder, key, key)


def make_server_certificate(
    authority: KeyPair, names: Sequence[str], now: datetime, lifetime: timedelta = LEAF_LIFETIME
) -> KeyPair:
    """A leaf for a TLS server under these DNS names and IP addresses, the first of which is also its common name."""
    return _make_leaf(authority, _subject(names[0]), names, ExtendedKeyUsageOID.SERVER_AUTH, now, lifetime)


def make_client_certificate(
    authority: KeyPair,
    name: str,
    now: datetime,
    lifetime: timedelta = LEAF_LIFETIME,
    *,
    organizations: Sequence[str] = (),
) -> KeyPair:
    """A leaf with which a TLS client shows who it is; to Kubernetes the organizations are its groups."""
    subject = _subject(name, organizations)
    return _make_leaf(authority, subject, (), ExtendedKeyUsageOID.CLIENT_AUTH, now, lifetime)


def _subject(name: str, organizations: Sequence[str] = ()) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organizations]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _make_leaf(
    authority: KeyPair,
    subject: x509.Name,
    names: Sequence[str],
    usage: x509.ObjectIdentifier,
    now: datetime,
    lifetime: timedelta,
) -> KeyPair:
    issuer = _certificate(authority.certificate)
    issuer_key = _private_key(authority.key)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(subject, issuer.subject, key.public_key(), now, lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if names:
        alternatives = x509.SubjectAlternativeName([_alternative_name(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    return _signed(builder, key, issuer_key)


def expires_at(certificate: bytes) -> datetime:
    """When the first certificate of this PEM stops being valid."""
    return _certificate(certificate).not_valid_after_utc


def needs_rotation(certificate: bytes, now: datetime, names: Iterable[str] = (), remaining: float = 1 / 3) -> bool:
    """Whether it is unreadable, lacks one of these names, or has less than this share of its life left."""
    try:
        parsed = _certificate(certificate)
    except CertificateError:
        return True
    begin, end = parsed.not_valid_before_utc, parsed.not_valid_after_utc
    is_old = now.astimezone(UTC) >= end - (end - begin) * remaining
    return is_old or not {str(_alternative_name(name).value) for name in names} <= _names(parsed)


def is_issued_by(certificate: bytes, authority: bytes) -> bool:
    """Whether this very CA certificate signed it."""
    try:
        _certificate(certificate).verify_directly_issued_by(_certificate(authority))
    except (CertificateError, ValueError, TypeError, InvalidSignature):
        return False
    return True


def bundle(authorities: Iterable[bytes], now: datetime) -> bytes:
    """One PEM of all these CAs, each once and in this order, without those that are unreadable or expired."""
    valid: dict[bytes, None] = {}
    for pem in authorities:
        for parsed in _certificates(pem):
            if parsed.not_valid_after_utc > now.astimezone(UTC):
                valid[parsed.public_bytes(serialization.Encoding.PEM)] = None
    return b"".join(valid)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now.astimezone(UTC) - BACKDATED)
        .not_valid_after(now.astimezone(UTC) + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> KeyPair:
    certificate = builder.sign(signer, hashes.SHA256())
    return KeyPair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _alternative_name(name: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names(certificate: x509.Certificate) -> set[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in names}


def _certificate(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise CertificateError(f"not a PEM certificate: {error}") from error


def _certificates(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []


def _private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise CertificateError(f"not a PEM private key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError("not an elliptic curve key")
    return key
