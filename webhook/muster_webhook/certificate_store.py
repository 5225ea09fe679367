"""Where the certificate is kept and made known: one Secret, and the caBundle of two webhook configurations."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Final

import structlog

from muster_api.names import SYSTEM_NAMESPACE, WEBHOOK_TLS_OBJECT
from muster_kube.errors import Conflict, Invalid, NotFound
from muster_kube.resources import SECRETS, ResourcePath
from muster_kube.writer import Writer
from muster_webhook.rotation import Material, read_material, written_material

log = structlog.get_logger(__name__)

CONFIGURATION: Final = "muster-webhook"
CONFIGURATIONS: Final = (
    ResourcePath("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations"),
    ResourcePath("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"),
)

Document = dict[str, Any]


class CertificateStore:
    """Reads and writes both; every replica does so, and compare-and-swap settles who was first."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._secret = SECRETS.object_path(SYSTEM_NAMESPACE, WEBHOOK_TLS_OBJECT)

    async def read(self) -> tuple[Material, Document]:
        """The material, and the Secret it came from, which `write` wants back; raises ApiError."""
        secret = await self._writer.get(self._secret, Document)
        return read_material(secret.get("data") or {}), secret

    async def write(self, material: Material, secret: Document) -> bool:
        """False when another replica was first: read again."""
        try:
            await self._writer.replace(self._secret, {**secret, "data": written_material(material)})
        except Conflict:
            return False
        return True

    async def publish(self, trusted: bytes) -> bool:
        """Puts these authorities into every caBundle; true once that is so, a missing configuration being no matter."""
        encoded = b64encode(trusted).decode()
        return all([await self._publish(resource, encoded) for resource in CONFIGURATIONS])

    async def _publish(self, resource: ResourcePath, encoded: str) -> bool:
        path = resource.object_path(None, CONFIGURATION)
        try:
            configuration = await self._writer.get(path, Document)
        except NotFound:
            return True
        patch = trust_patch(configuration, encoded)
        if not patch:
            return True
        try:
            await self._writer.patch_json(path, patch)
        except (Conflict, Invalid, NotFound) as error:
            log.info("caBundle will be written again", configuration=resource.plural, error=str(error))
            return False
        log.info("caBundle written", configuration=resource.plural)
        return True


def trust_patch(configuration: Document, encoded: str) -> list[Document]:
    """The JSON patch that makes every webhook of it trust this bundle; empty when they all do."""
    operations: list[Document] = []
    for index, webhook in enumerate(configuration.get("webhooks") or []):
        if webhook.get("clientConfig", {}).get("caBundle") != encoded:
            path = f"/webhooks/{index}"
            operations.append({"op": "test", "path": f"{path}/name", "value": webhook["name"]})
            operations.append({"op": "add", "path": f"{path}/clientConfig/caBundle", "value": encoded})
    return operations
