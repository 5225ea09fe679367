"""An issuer's public keys: fetched when needed, kept for a while when the issuer is away, never asked for too often."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from muster_kube.clock import Clock
from muster_queue.identity.caches import SharedCalls
from muster_queue.identity.errors import IdentityUnavailable, Unauthenticated
from muster_queue.identity.settings import Algorithm, IssuerSettings

log = structlog.get_logger(__name__)

FRESH_SECONDS: Final = 300.0
"""After which keys are fetched again, while the ones at hand stay in use."""
PATIENCE_SECONDS: Final = 30.0
"""Between two fetches, whatever asks for them: a stream of made-up key ids is no reason to bother the issuer."""
STALE_SECONDS: Final = 3600.0
"""How long keys are believed after the issuer was last heard of."""
FIRST_PATIENCE_SECONDS: Final = 2.0
"""Between two tries as long as no keys are known at all."""
FETCH_SECONDS: Final = 5.0
LARGEST_DOCUMENT: Final = 256 << 10
MOST_KEYS: Final = 100
SMALLEST_RSA_BITS: Final = 2048

Fetch = Callable[[], Awaitable[bytes]]
PublicKey = RSAKey | ECKey | OKPKey
_TYPES: Final[Mapping[Algorithm, tuple[str, str | None]]] = {
    Algorithm.RS256: ("RSA", None),
    Algorithm.ES256: ("EC", "P-256"),
    Algorithm.EDDSA: ("OKP", "Ed25519"),
}


class _Document(msgspec.Struct, frozen=True):
    keys: tuple[dict[str, Any], ...]


class IssuerKey(msgspec.Struct, frozen=True):
    """A public key and the one algorithm that it is good for."""

    kid: str | None
    algorithm: Algorithm
    key: PublicKey


class KeyRing:
    """The keys of one issuer."""

    def __init__(self, issuer: str, fetch: Fetch, clock: Clock) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._clock = clock
        self._keys: tuple[IssuerKey, ...] = ()
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetches: SharedCalls[None, None] = SharedCalls()

    @property
    def issuer(self) -> str:
        return self._issuer

    @property
    def is_loaded(self) -> bool:
        """Whether a token of this issuer can be judged."""
        return self._fetched_at is not None

    async def load(self) -> None:
        """Fetches the keys before the first token needs them; tries until they are there."""
        while not self.is_loaded:
            await self._fetches.result(None, self._refresh)
            if not self.is_loaded:
                await asyncio.sleep(FIRST_PATIENCE_SECONDS)

    async def key(self, kid: str | None, algorithm: Algorithm) -> PublicKey:
        """The key that a token names, if it is one for this algorithm; raises an IdentityError."""
        await self._look_after()
        found = self._find(kid, algorithm)
        if found is None and self._may_fetch():
            await self._fetches.result(None, self._refresh)
            found = self._find(kid, algorithm)
        if found is None:
            raise Unauthenticated("the token is signed with a key that its issuer does not publish")
        return found

    async def close(self) -> None:
        await self._fetches.close()

    async def _look_after(self) -> None:
        age = self._age()
        if age < FRESH_SECONDS:
            return
        if self._may_fetch():
            fetching = self._fetches.begin(None, self._refresh)
            if age >= STALE_SECONDS:
                await asyncio.shield(fetching)
        if self._age() >= STALE_SECONDS:
            raise IdentityUnavailable("the issuer of this token cannot be asked for its keys")

    def _age(self) -> float:
        return math.inf if self._fetched_at is None else self._clock.monotonic() - self._fetched_at

    def _may_fetch(self) -> bool:
        """Whether it is time for the next fetch, or one is under way that can be waited for."""
        patience = FIRST_PATIENCE_SECONDS if self._fetched_at is None else PATIENCE_SECONDS
        is_due = self._tried_at is None or self._clock.monotonic() - self._tried_at >= patience
        return is_due or len(self._fetches) > 0

    async def _refresh(self) -> None:
        self._tried_at = self._clock.monotonic()
        try:
            keys = read_keys(await self._fetch())
        except (OSError, aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
            log.warning("an issuer's keys could not be fetched", issuer=self._issuer, error=str(error)[:200])
            return
        self._keys, self._fetched_at = keys, self._clock.monotonic()

    def _find(self, kid: str | None, algorithm: Algorithm) -> PublicKey | None:
        fitting = [each for each in self._keys if each.algorithm is algorithm and kid in (None, each.kid)]
        # A token that names no key is accepted only where there is no choice.
        return fitting[0].key if len(fitting) == 1 else None


def read_keys(document: bytes) -> tuple[IssuerKey, ...]:
    """The usable keys of a JWKS; others are left out, so that one strange key does not cost the rest."""
    entries = msgspec.json.decode(document, type=_Document).keys
    if len(entries) > MOST_KEYS:
        raise ValueError(f"{len(entries)} keys are too many")
    found = [_read_key(entry) for entry in entries]
    return tuple(key for key in found if key is not None)


def _read_key(entry: dict[str, Any]) -> IssuerKey | None:
    algorithm = next((each for each, form in _TYPES.items() if form == (entry.get("kty"), _curve(entry))), None)
    if algorithm is None or entry.get("use", "sig") != "sig" or entry.get("alg", algorithm) not in _names(algorithm):
        return None
    kid = entry.get("kid")
    if kid is not None and not isinstance(kid, str):
        return None
    try:
        key = _import(entry)
    except (JoseError, KeyError, ValueError, TypeError) as error:
        log.warning("a key of an issuer cannot be used", kid=kid, error=str(error)[:200])
        return None
    return None if key is None else IssuerKey(kid, algorithm, key)


def _curve(entry: dict[str, Any]) -> object:
    return None if entry.get("kty") == "RSA" else entry.get("crv")


def _names(algorithm: Algorithm) -> tuple[str, ...]:
    return (algorithm, "Ed25519") if algorithm is Algorithm.EDDSA else (algorithm,)


def _import(entry: dict[str, Any]) -> PublicKey | None:
    """Only the public members are taken, whatever else the document gives away."""
    match entry["kty"]:
        case "RSA":
            # Looked at before the library does: a short key is left out, not warned about.
            if len(str(entry.get("n", ""))) * 6 < SMALLEST_RSA_BITS:
                return None
            return RSAKey.import_key({"kty": "RSA", "n": entry["n"], "e": entry["e"]})
        case "EC":
            return ECKey.import_key({"kty": "EC", "crv": entry["crv"], "x": entry["x"], "y": entry["y"]})
        case _:
            return OKPKey.import_key({"kty": "OKP", "crv": entry["crv"], "x": entry["x"]})


def keys_of(issuer: IssuerSettings) -> Fetch:
    """How an issuer's document is fetched: from a file, or over HTTP."""
    if issuer.keys.startswith("/"):
        return lambda: asyncio.to_thread(_read_file, Path(issuer.keys))
    return lambda: _download(issuer.keys, issuer.keys_authority)


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return _bounded(file.read(LARGEST_DOCUMENT + 1))


async def _download(url: str, authority: Path | None) -> bytes:
    context = ssl.create_default_context(cafile=authority) if url.startswith("https") else None
    timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=timeout, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as client,
        client.get(url, allow_redirects=False, ssl=context or True) as response,
    ):
        if response.status != 200:
            raise ValueError(f"the answer was {response.status}")
        document = bytearray()
        async for chunk in response.content.iter_any():
            document += chunk
            _bounded(document)
        return bytes(document)


def _bounded(document: bytes | bytearray) -> bytes:
    if len(document) > LARGEST_DOCUMENT:
        raise ValueError(f"the document is larger than {LARGEST_DOCUMENT} bytes")
    return bytes(document)
