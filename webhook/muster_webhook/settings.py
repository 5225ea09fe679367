"""What an operator can set, all of it by environment variables that begin with MUSTER_."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from muster_api.names import GPU_RESOURCE, SYSTEM_NAMESPACE
from muster_kube.process import LogLevel
from muster_webhook.rotation import RotationPolicy

SERVICE = "muster-webhook"


class WebhookSettings(BaseSettings):
    """Read once, at the start."""

    model_config = SettingsConfigDict(env_prefix="MUSTER_", frozen=True, env_ignore_empty=True)

    listen_host: str = Field(default="127.0.0.1", description="Address to listen on.")
    listen_port: Annotated[int, Field(ge=0, le=65535)] = Field(default=8443, description="Port to listen on, TLS only.")
    log_level: LogLevel = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")
    gpu_resources: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(GPU_RESOURCE,), description="Resources that make a pod Muster's, separated by commas."
    )
    webhook_names: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Further host names or addresses for the certificate, separated by commas."
    )
    certificate_lifetime_seconds: Annotated[float, Field(ge=160)] = Field(
        default=90 * 86400, description="How long a certificate is valid; it is replaced after two thirds."
    )
    certificate_overlap_seconds: Annotated[float, Field(ge=0)] = Field(
        default=300, description="How long a new authority is trusted before its certificate is used."
    )
    certificate_poll_seconds: Annotated[float, Field(gt=0)] = Field(
        default=10, description="How often the Secret and the configurations are looked at."
    )

    @field_validator("gpu_resources", "webhook_names", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    def rotation_policy(self) -> RotationPolicy:
        """For all names under which API servers reach the webhook."""
        service = f"{SERVICE}.{SYSTEM_NAMESPACE}.svc"
        names = (service, f"{service}.cluster.local", "localhost", "127.0.0.1", *self.webhook_names)
        return RotationPolicy(
            tuple(dict.fromkeys(names)),
            timedelta(seconds=self.certificate_lifetime_seconds),
            timedelta(seconds=self.certificate_overlap_seconds),
        )
