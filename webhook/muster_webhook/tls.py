"""The server's TLS context, whose certificate changes under it, and the handshake that proves what it serves."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from muster_webhook.rotation import Identity

HANDSHAKE_SECONDS: Final = 5.0


class ServingIdentity:
    """An SSL context for the server; handshakes after `use` see the new certificate, open connections stay."""

    def __init__(self) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self._loaded = Identity()

    @property
    def certificate(self) -> bytes:
        """What is served now; empty before the first `use`."""
        return self._loaded.certificate

    def use(self, identity: Identity) -> bool:
        """Serve it from now on; false when it is served already."""
        if identity == self._loaded:
            return False
        # OpenSSL takes them from files only; the folder is private to this process and gone at once.
        with tempfile.TemporaryDirectory(prefix="muster-webhook-") as folder:
            certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
            certificate.write_bytes(identity.certificate)
            key.touch(mode=0o600)
            key.write_bytes(identity.key)
            self.context.load_cert_chain(certificate, key)
        self._loaded = identity
        return True


async def served_certificate(host: str, port: int, trusted: bytes, name: str) -> bytes:
    """The certificate (PEM) that this port serves to a client which trusts these authorities; raises OSError."""
    context = ssl.create_default_context(cadata=trusted.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    async with asyncio.timeout(HANDSHAKE_SECONDS):
        _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
        try:
            transport: ssl.SSLObject = writer.get_extra_info("ssl_object")
            return ssl.DER_cert_to_PEM_cert(transport.getpeercert(binary_form=True) or b"").encode()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
