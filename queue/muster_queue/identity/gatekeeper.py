"""Both questions in one place: who is asking, and whether they may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from muster_kube.clock import Clock
from muster_kube.session import ApiSession
from muster_queue.identity.access import Authorizer
from muster_queue.identity.authentication import Authenticator
from muster_queue.identity.issuer_tokens import IssuerVerifier
from muster_queue.identity.keys import KeyRing, keys_of
from muster_queue.identity.settings import IdentitySettings
from muster_queue.identity.token_review import TokenReviewer


class Gatekeeper:
    """What the api's door asks."""

    def __init__(self, authenticator: Authenticator, authorizer: Authorizer, rings: Sequence[KeyRing] = ()) -> None:
        self.authenticate = authenticator.authenticate
        self.may = authorizer.may
        self.known = authenticator.known
        self.is_known = authorizer.is_known
        self._rings = rings

    async def load_keys(self) -> None:
        """Returns once the keys of all issuers are there."""
        await asyncio.gather(*(ring.load() for ring in self._rings))

    def unready(self) -> list[str]:
        """Issuers whose tokens nobody can judge yet."""
        return [f"the keys of issuer {ring.issuer} were not fetched yet" for ring in self._rings if not ring.is_loaded]


@asynccontextmanager
async def open_gatekeeper(settings: IdentitySettings, session: ApiSession, clock: Clock) -> AsyncIterator[Gatekeeper]:
    """A gatekeeper that believes the configured issuers and the API server."""
    rings = {issuer.issuer: KeyRing(issuer.issuer, keys_of(issuer), clock) for issuer in settings.token_issuers}
    verifiers = {
        issuer.issuer: IssuerVerifier(issuer, rings[issuer.issuer], clock) for issuer in settings.token_issuers
    }
    authenticator = Authenticator(verifiers, TokenReviewer(session, settings.token_audience), clock)
    authorizer = Authorizer(session, clock)
    try:
        yield Gatekeeper(authenticator, authorizer, tuple(rings.values()))
    finally:
        await authenticator.close()
        await authorizer.close()
        for verifier in verifiers.values():
            await verifier.close()
