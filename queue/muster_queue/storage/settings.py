"""Where the database is and how patient to be with it, read once from the environment."""

from __future__ import annotations

from psycopg import ProgrammingError
from psycopg.conninfo import make_conninfo
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class StorageSettings(BaseSettings):
    """Environment variables with the prefix MUSTER_; durations are seconds."""

    model_config = SettingsConfigDict(env_prefix="MUSTER_", frozen=True, hide_input_in_errors=True)

    database_url: SecretStr = Field(default=SecretStr(""), validate_default=True)
    """postgresql://user:password@host/database; over a network with sslmode=verify-full."""
    database_connections: int = Field(default=8, ge=1, le=200)
    database_relaxed_connections: int = Field(default=2, ge=1, le=20)
    """For writes that may be lost in a crash of the server, and are repeated then: they wait for no disk."""
    database_acquire_timeout: float = Field(default=2.0, gt=0)
    database_connect_timeout: int = Field(default=2, ge=2)
    database_statement_timeout: float = Field(default=5.0, gt=0)
    database_hang_up_after: float = Field(default=7.0, gt=0)
    """A connection that is silent for so long is given up: longer than any statement may take."""
    keep_events_days: float = Field(default=90.0, gt=0)
    """The history of jobs goes by whole months, once the youngest of its events is so old."""
    keep_keys_hours: float = Field(default=48.0, gt=0)
    """How long an idempotency key gets the first answer again."""
    keep_gone_jobs_days: float = Field(default=90.0, gt=2)
    """Longer than keys are kept: a key that comes again must find its job."""
    database_prepares: bool = True
    """Off behind a pooler that cannot keep prepared statements."""

    @field_validator("database_url")
    @classmethod
    def _is_an_address(cls, value: SecretStr) -> SecretStr:
        """The driver's own complaint quotes the password."""
        if not value.get_secret_value():
            raise ValueError("is missing; write postgresql://user:password@host/database")
        try:
            make_conninfo(value.get_secret_value())
        except ProgrammingError:
            raise ValueError("write postgresql://user:password@host/database") from None
        return value


def connection_string(url: str, **options: str | int) -> str:
    """The url with more libpq options; what the url itself says of them holds."""
    given = {name: value for name, value in options.items() if f"{name}=" not in url}
    return make_conninfo(url, **given)
