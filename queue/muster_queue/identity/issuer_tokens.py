"""JWTs of configured issuers, verified as RFC 8725 wants it: nothing in a token chooses how it is verified."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError, UnsupportedAlgorithmError
from joserfc.jws import JWSRegistry

from muster_kube.clock import Clock
from muster_queue.identity.bearer import LARGEST_TOKEN, TokenHead, token_head
from muster_queue.identity.caller import AUTHENTICATED_GROUP, FALLBACK_NAMESPACE, SYSTEM_PREFIX, Caller
from muster_queue.identity.errors import Unauthenticated
from muster_queue.identity.keys import KeyRing
from muster_queue.identity.settings import Algorithm, IssuerSettings

_ALGORITHM_NAMES: Final[dict[str, Algorithm]] = {
    **{str(algorithm): algorithm for algorithm in Algorithm},
    "Ed25519": Algorithm.EDDSA,
}
"""By `alg`; RFC 9864 gave EdDSA with this curve a name of its own."""
_TYPES: Final = ("jwt", "at+jwt")
END_OF_TIME: Final = 2**53
"""Seconds beyond which no moment is told from the next."""
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LONGEST_NAME: Final = 256
_MOST_GROUPS: Final = 200


class IssuerVerifier:
    """Verifies the tokens of one issuer and says who their bearer is."""

    def __init__(self, settings: IssuerSettings, keys: KeyRing, clock: Clock) -> None:
        self._settings = settings
        self._keys = keys
        self._clock = clock
        self._claims = jwt.JWTClaimsRegistry(
            now=lambda: int(clock.now().timestamp()),
            leeway=settings.leeway_seconds,
            iss={"essential": True, "value": settings.issuer},
            aud={"essential": True, "value": settings.audience},
            exp={"essential": True},
        )

    async def verify(self, token: str) -> Caller:
        """Who shows this token; raises Unauthenticated or IdentityUnavailable."""
        head = token_head(token)
        algorithm = self._algorithm(head)
        key = await self._keys.key(head.kid, algorithm)
        try:
            claims = jwt.decode(token, key, [head.alg], registry=_PinnedRegistry(head.alg)).claims
            self._claims.validate(claims)
        except ExpiredTokenError:
            raise Unauthenticated("the token has expired") from None
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise Unauthenticated(f"the token does not hold: {_reason(error)}") from None
        return self._caller(claims)

    async def close(self) -> None:
        await self._keys.close()

    def _algorithm(self, head: TokenHead) -> Algorithm:
        algorithm = _ALGORITHM_NAMES.get(head.alg)
        if algorithm is None or algorithm not in self._settings.algorithms:
            raise Unauthenticated("the token is signed in a way that is not accepted")
        if head.crit is not msgspec.UNSET:
            raise Unauthenticated("the token has critical extensions, and none is known here")
        if head.typ is not None and head.typ.lower().removeprefix("application/") not in _TYPES:
            raise Unauthenticated("the token is of another type than JWT")
        return algorithm

    def _caller(self, claims: dict[str, Any]) -> Caller:
        settings = self._settings
        name = _name(claims.get(settings.username_claim), settings.username_prefix, settings.username_claim)
        groups = _groups(claims.get(settings.groups_claim), settings)
        token_id = claims.get("jti")
        return Caller(
            name=name,
            # The API server adds this group to whomever it has authenticated itself.
            groups=(*groups, AUTHENTICATED_GROUP),
            namespace=_namespace(claims.get(settings.namespace_claim, FALLBACK_NAMESPACE)),
            expires=float(min(claims["exp"], END_OF_TIME)),
            token_id=token_id if isinstance(token_id, str) else "",
        )


class _PinnedRegistry(JWSRegistry):
    """Knows one algorithm; headers that it does not know are harmless, since none of them is followed."""

    max_payload_length = LARGEST_TOKEN

    def __init__(self, algorithm: str) -> None:
        super().__init__(algorithms=[algorithm], strict_check_header=False)
        self._pinned = algorithm

    def get_alg(self, name: str) -> Any:
        # The library's own look-up warns about the name EdDSA, which most issuers use.
        if name != self._pinned:
            raise UnsupportedAlgorithmError("not the pinned algorithm")
        return self.algorithms[name]


def _namespace(value: object) -> str:
    if not isinstance(value, str) or not _NAMESPACE.fullmatch(value):
        raise Unauthenticated("the token's namespace is none")
    return value


def _name(value: object, prefix: str, claim: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_NAME or not value.isprintable():
        raise Unauthenticated(f"the token's {claim} is no user name")
    name = prefix + value
    if name.startswith(SYSTEM_PREFIX):
        raise Unauthenticated("the token's user name is one of Kubernetes' own")
    return name


def _groups(value: object, settings: IssuerSettings) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or len(value) > _MOST_GROUPS:
        raise Unauthenticated(f"the token's {settings.groups_claim} is no list of groups")
    return tuple(_name(each, settings.groups_prefix, settings.groups_claim) for each in value)


def _reason(error: Exception) -> str:
    """The library's words where they are about claims; what broke inside is nobody's business."""
    return error.description if isinstance(error, JoseError) and error.description else "it cannot be read"
