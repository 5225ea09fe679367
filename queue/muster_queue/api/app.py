"""The composition root of the api: stores, service, door, server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from prometheus_client import CollectorRegistry

from muster_kube.clock import SystemClock
from muster_kube.session import ApiSession
from muster_kube.supervision import Supervisor
from muster_kube.tracing import tracing
from muster_queue.index.connection import IndexSettings
from muster_queue.intake.settings import IntakeSettings
from muster_queue.pools.pools import Pools
from muster_queue.pools.settings import PoolSettings
from muster_queue.rest.serving import ApiSettings, serve_api
from muster_queue.rest.streams import MOST_STREAMS
from muster_queue.service.opening import open_service
from muster_queue.service.settings import TenantSettings
from muster_queue.service.stores import StoreSettings, open_stores
from muster_queue.storage.settings import StorageSettings
from muster_queue.variables import read_settings

SERVICE: Final = "muster-api"
API_CONNECTIONS: Final = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """All that the environment says to this process."""

    api: ApiSettings
    stores: StoreSettings
    intake: IntakeSettings
    tenants: TenantSettings
    pools: PoolSettings

    @classmethod
    def from_environment(cls) -> Self:
        """VariablesError says what is wrong there."""
        return cls(
            read_settings(ApiSettings),
            StoreSettings(read_settings(StorageSettings), read_settings(IndexSettings)),
            read_settings(IntakeSettings),
            read_settings(TenantSettings),
            read_settings(PoolSettings),
        )


async def run_api(supervisor: Supervisor, settings: Settings) -> None:
    """Serves until the supervisor stops: the server ends first, then what answers its requests, then the stores."""
    clock, registry = SystemClock(), CollectorRegistry()
    async with (
        tracing(SERVICE) as tracer,
        open_stores(settings.stores) as stores,
        await ApiSession.connect(connection_limit=API_CONNECTIONS, user_agent=SERVICE) as session,
        # On connections of its own: logs that are followed hold theirs for as long as they are.
        await ApiSession.connect(connection_limit=MOST_STREAMS, user_agent="muster-api-logs") as log_session,
    ):
        pools = Pools(stores.database, stores.index, settings.pools, clock, registry)
        supervisor.start("pools", pools.run())
        async with open_service(
            supervisor, stores, session, log_session, settings, clock, registry, awaken=pools.awaken, tracer=tracer
        ) as service:
            try:
                await serve_api(supervisor, settings.api, service, session, clock, registry, pools=pools)
            finally:
                # Whatever uses the stores ends before they are closed.
                await supervisor.close()
