"""ServiceAccount tokens, which only the API server can judge: it knows whether the account and its pod still exist."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from muster_api.objects import KubernetesStruct
from muster_kube.errors import ApiError
from muster_kube.session import ApiSession
from muster_queue.identity.bearer import unverified_claims
from muster_queue.identity.caller import Caller, account_namespace
from muster_queue.identity.errors import IdentityUnavailable, Unauthenticated

REVIEW_SECONDS: Final = 3.0
_PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"


class _User(KubernetesStruct, frozen=True, kw_only=True):
    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)


class _Status(KubernetesStruct, frozen=True, kw_only=True):
    authenticated: bool = False
    user: _User = _User()
    audiences: tuple[str, ...] = ()


class _TokenReview(KubernetesStruct, frozen=True, kw_only=True):
    status: _Status = _Status()


_ANSWER: Final = msgspec.json.Decoder(_TokenReview)


class TokenReviewer:
    """Asks the API server whose token it is, and whether it was made for us."""

    def __init__(self, session: ApiSession, audience: str) -> None:
        self._session = session
        self._audience = audience

    async def verify(self, token: str) -> Caller:
        """Who shows this token; raises Unauthenticated or IdentityUnavailable."""
        status = (await self._review(token)).status
        if not status.authenticated or not status.user.username:
            raise Unauthenticated("the API server does not accept the token")
        # A token made for another audience is somebody's key to something else, and not to us.
        if self._audience not in status.audiences:
            raise Unauthenticated(f"the token is not made for the audience {self._audience}")
        user = status.user
        return Caller(
            name=user.username,
            uid=user.uid,
            groups=user.groups,
            extra=tuple(sorted(user.extra.items())),
            namespace=account_namespace(user.username),
            expires=unverified_claims(token).exp or 0.0,
        )

    async def _review(self, token: str) -> _TokenReview:
        body: dict[str, Any] = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [self._audience]},
        }
        try:
            answer = await self._session.request("POST", _PATH, body=msgspec.json.encode(body), timeout=REVIEW_SECONDS)
            return _ANSWER.decode(answer.body)
        except (ApiError, msgspec.DecodeError) as error:
            raise IdentityUnavailable("the API server cannot be asked about the token") from error
