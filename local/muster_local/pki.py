"""The certificates of one instance: an authority of its own, serving certificates, the token signing key."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from muster_local.layout import StateLayout
from muster_local.secure_files import write_private

AUTHORITY = "ca"
SERVICE_ACCOUNT = "service-account"
ETCD_CLIENT = "etcd-client"
SERVING = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")

_VALIDITY = datetime.timedelta(days=3650)
_BACKDATING = datetime.timedelta(hours=1)
_HOSTS = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
_ADDRESSES = ("127.0.0.1", "::1", "10.0.0.1")


@dataclass(frozen=True)
class Authority:
    """The instance's own certificate authority, able to sign."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def ensure_pki(layout: StateLayout) -> None:
    """Makes every key and certificate that is missing; what exists stays, so that restarts keep their trust."""
    authority = _ensure_authority(layout)
    for name in SERVING:
        _ensure_certificate(layout, authority, name, ExtendedKeyUsageOID.SERVER_AUTH)
    _ensure_certificate(layout, authority, ETCD_CLIENT, ExtendedKeyUsageOID.CLIENT_AUTH)
    _ensure_signing_key(layout)


def _ensure_authority(layout: StateLayout) -> Authority:
    certificate_file, key_file = layout.certificate(AUTHORITY), layout.private_key(AUTHORITY)
    if certificate_file.exists() and key_file.exists():
        return _load_authority(layout)
    authority = create_authority("muster-local")
    write_private(key_file, _key_bytes(authority.key))
    write_private(certificate_file, authority.certificate.public_bytes(serialization.Encoding.PEM))
    return authority


def _load_authority(layout: StateLayout) -> Authority:
    certificate = x509.load_pem_x509_certificate(layout.certificate(AUTHORITY).read_bytes())
    key = serialization.load_pem_private_key(layout.private_key(AUTHORITY).read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the authority's key is not an elliptic curve key")
    return Authority(certificate, key)


def create_authority(common_name: str) -> Authority:
    """A self-signed authority that can sign leaf certificates and nothing below them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(common_name)
    certificate = (
        _builder(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def issue(
    authority: Authority, common_name: str, usages: Sequence[x509.ObjectIdentifier]
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A leaf certificate for loopback, signed by the instance's authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_name(common_name), authority.certificate.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(_alternative_names()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return certificate, key


def _ensure_certificate(layout: StateLayout, authority: Authority, name: str, usage: x509.ObjectIdentifier) -> None:
    if layout.certificate(name).exists() and layout.private_key(name).exists():
        return
    # etcd dials its own serving address as a client of its gateway, so it shows its serving certificate there.
    usages = [usage, ExtendedKeyUsageOID.CLIENT_AUTH] if name == "etcd" else [usage]
    certificate, key = issue(authority, f"muster-local-{name}", usages)
    write_private(layout.private_key(name), _key_bytes(key))
    write_private(layout.certificate(name), certificate.public_bytes(serialization.Encoding.PEM))


def _ensure_signing_key(layout: StateLayout) -> None:
    key_file, public_file = layout.private_key(SERVICE_ACCOUNT), layout.pki / f"{SERVICE_ACCOUNT}.pub"
    if key_file.exists() and public_file.exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    write_private(key_file, _key_bytes(key))
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    write_private(public_file, public)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATING)
        .not_valid_after(now + _VALIDITY)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative_names() -> list[x509.GeneralName]:
    hosts: list[x509.GeneralName] = [x509.DNSName(host) for host in _HOSTS]
    return hosts + [x509.IPAddress(ipaddress.ip_address(address)) for address in _ADDRESSES]


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
