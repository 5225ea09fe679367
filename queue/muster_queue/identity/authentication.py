"""From a token to a caller: the issuer's keys or the API server, each asked once and not too often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from muster_kube.clock import Clock
from muster_queue.identity.bearer import digest_of, token_digest, unverified_claims
from muster_queue.identity.caches import ExpiringCache, SharedCalls
from muster_queue.identity.caller import Caller
from muster_queue.identity.errors import IdentityUnavailable, TooManyTokens, Unauthenticated
from muster_queue.identity.pace import Pace, Turnstile

REMEMBERED_SECONDS: Final = 60.0
"""How long a token is believed without looking again; it ends with the token in any case."""
REFUSED_SECONDS: Final = 5.0
MOST_TOKENS: Final = 10_000
MOST_WAITING: Final = 1000

EACH_PEER: Final = Pace(rate=50, burst=100)
ALL_PEERS: Final = Pace(rate=200, burst=400)
REVIEWS: Final = Pace(rate=50, burst=100)
_NOBODY: Final = ""


class Verifier(Protocol):
    """What can tell whose token one is."""

    async def verify(self, token: str) -> Caller: ...


class Authenticator:
    """Believes a token as long as its verifier would, give or take a minute.

    A token goes to the verifier of the issuer that it names, and to no other; to TokenReview where it names none.
    """

    def __init__(self, issuers: Mapping[str, Verifier], reviewer: Verifier, clock: Clock) -> None:
        self._issuers = issuers
        self._reviewer = reviewer
        self._clock = clock
        self._believed: ExpiringCache[bytes, Caller] = ExpiringCache(MOST_TOKENS)
        self._refused: ExpiringCache[bytes, str] = ExpiringCache(MOST_TOKENS)
        self._verifications: SharedCalls[bytes, Caller] = SharedCalls()
        self._peers = Turnstile(EACH_PEER, ALL_PEERS)
        self._reviews = Turnstile(REVIEWS, REVIEWS)

    async def authenticate(self, token: str, peer: str) -> Caller:
        """Whose token it is; raises an IdentityError. `peer` is where the connection comes from."""
        digest = token_digest(token)
        now = self._clock.monotonic()
        caller = self._believed.get(digest, now)
        if caller is not None:
            return caller
        refusal = self._refused.get(digest, now)
        if refusal is not None:
            raise Unauthenticated(refusal)
        self._let_through(self._peers, peer, now)
        return await self._verifications.result(digest, lambda: self._verify(token, digest))

    def known(self, token: bytes) -> Caller | None:
        """Whose token it is, where that is known without asking anybody."""
        return self._believed.get(digest_of(token), self._clock.monotonic())

    async def close(self) -> None:
        await self._verifications.close()

    async def _verify(self, token: str, digest: bytes) -> Caller:
        verifier = self._issuers.get(unverified_claims(token).iss, self._reviewer)
        if verifier is self._reviewer:
            self._let_through(self._reviews, _NOBODY, self._clock.monotonic())
        try:
            caller = await verifier.verify(token)
            lasts = self._lasts(caller)
        except Unauthenticated as refused:
            self._refused.put(digest, str(refused), self._clock.monotonic() + REFUSED_SECONDS)
            raise
        self._believed.put(digest, caller, self._clock.monotonic() + min(REMEMBERED_SECONDS, lasts))
        return caller

    def _lasts(self, caller: Caller) -> float:
        """Seconds that the token has left; one without an end is looked at again like any other."""
        if not caller.expires:
            return REMEMBERED_SECONDS
        return max(0.0, caller.expires - self._clock.now().timestamp())

    def _let_through(self, turnstile: Turnstile, peer: str, now: float) -> None:
        if len(self._verifications) >= MOST_WAITING:
            raise IdentityUnavailable("too many tokens are being looked at")
        wait = turnstile.wait_for(peer, now)
        if wait:
            raise TooManyTokens(wait)
