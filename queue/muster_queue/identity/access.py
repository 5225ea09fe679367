"""What somebody wants to do, in the words of Kubernetes' RBAC, and whether they may."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from muster_api.names import GROUP
from muster_api.objects import KubernetesStruct
from muster_kube.clock import Clock
from muster_kube.errors import ApiError
from muster_kube.session import ApiSession
from muster_queue.identity.caches import ExpiringCache, SharedCalls
from muster_queue.identity.caller import Caller
from muster_queue.identity.errors import IdentityUnavailable

ALLOWED_SECONDS: Final = 10.0
"""How long a yes holds; from half of it on it is asked again beside the work."""
DENIED_SECONDS: Final = 3.0
SURVIVED_SECONDS: Final = 60.0
"""How long a yes holds while the API server does not answer."""
REVIEW_SECONDS: Final = 3.0
PATIENCE_SECONDS: Final = 0.25
"""How long a caller who was allowed before waits for the next yes."""
AWAY_SECONDS: Final = 2.0
"""How long nobody waits after an answer did not come."""
MOST_DECISIONS: Final = 50_000
MOST_WAITING: Final = 1000
_PATH: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """One verb on one kind of object in one namespace (empty: in all of them), or on one path of the api."""

    verb: str
    resource: str = ""
    subresource: str = ""
    group: str = GROUP
    namespace: str = ""
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"{self.verb} {self.path}"
        kind = f"{self.resource}.{self.group}" if self.group else self.resource
        kind = f"{kind}/{self.subresource}" if self.subresource else kind
        return f"{self.verb} {kind} in {f'namespace {self.namespace}' if self.namespace else 'all namespaces'}"

    def attributes(self) -> dict[str, Any]:
        """The part of a SubjectAccessReview that says what is wanted."""
        if self.path:
            return {"nonResourceAttributes": {"verb": self.verb, "path": self.path}}
        wanted = {
            "verb": self.verb,
            "group": self.group,
            "resource": self.resource,
            "subresource": self.subresource,
            "namespace": self.namespace,
        }
        return {"resourceAttributes": {key: value for key, value in wanted.items() if value}}


class _Status(KubernetesStruct, frozen=True, kw_only=True):
    allowed: bool = False
    denied: bool = False


class _SubjectAccessReview(KubernetesStruct, frozen=True, kw_only=True):
    status: _Status = _Status()


class _Decision(msgspec.Struct, frozen=True):
    is_allowed: bool
    made_at: float


_ANSWER: Final = msgspec.json.Decoder(_SubjectAccessReview)
_Key = tuple[Caller, Access]


class Authorizer:
    """Asks the API server for each caller and access, and remembers the answer for a moment."""

    def __init__(self, session: ApiSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock
        self._decisions: ExpiringCache[_Key, _Decision] = ExpiringCache(MOST_DECISIONS)
        self._reviews: SharedCalls[_Key, bool] = SharedCalls()
        self._away_until = 0.0

    async def may(self, caller: Caller, access: Access) -> bool:
        """Whether they may; raises IdentityUnavailable where nobody can tell."""
        key, now = (caller, access), self._clock.monotonic()
        known = self._decisions.get(key, now)
        if known is None or now - known.made_at >= (ALLOWED_SECONDS if known.is_allowed else DENIED_SECONDS):
            return await self._ask(key, known)
        if known.is_allowed and now - known.made_at >= ALLOWED_SECONDS / 2 and len(self._reviews) < MOST_WAITING:
            self._reviews.begin(key, lambda: self._review(key))
        return known.is_allowed

    def is_known(self, caller: Caller, access: Access) -> bool:
        """Whether they may for sure: the last yes is so young that nobody has to be asked again yet."""
        now = self._clock.monotonic()
        known = self._decisions.get((caller, access), now)
        return known is not None and known.is_allowed and now - known.made_at < ALLOWED_SECONDS / 2

    async def close(self) -> None:
        await self._reviews.close()

    async def _ask(self, key: _Key, known: _Decision | None) -> bool:
        if len(self._reviews) >= MOST_WAITING:
            raise IdentityUnavailable("too many questions are under way about who may do what")
        if known is None or not known.is_allowed:
            return await self._reviews.result(key, lambda: self._review(key))
        return await self._ask_again(self._reviews.begin(key, lambda: self._review(key)))

    async def _ask_again(self, review: asyncio.Task[bool]) -> bool:
        """A yes that is known holds on while there is no answer, and nobody waits long for an API server that hangs."""
        if self._clock.monotonic() >= self._away_until:
            await asyncio.wait({review}, timeout=PATIENCE_SECONDS)
        if not review.done() or isinstance(review.exception(), IdentityUnavailable):
            self._away_until = self._clock.monotonic() + AWAY_SECONDS
            return True
        return review.result()

    async def _review(self, key: _Key) -> bool:
        caller, access = key
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {**_subject(caller), **access.attributes()},
        }
        try:
            answer = await self._session.request("POST", _PATH, body=msgspec.json.encode(body), timeout=REVIEW_SECONDS)
            status = _ANSWER.decode(answer.body).status
        except (ApiError, msgspec.DecodeError) as error:
            raise IdentityUnavailable("the API server cannot be asked who may do this") from error
        is_allowed = status.allowed and not status.denied
        now = self._clock.monotonic()
        expires = now + (SURVIVED_SECONDS if is_allowed else DENIED_SECONDS)
        self._decisions.put(key, _Decision(is_allowed, now), expires)
        return is_allowed


def _subject(caller: Caller) -> dict[str, Any]:
    subject = {
        "user": caller.name,
        "uid": caller.uid,
        "groups": caller.groups,
        "extra": {name: values for name, values in caller.extra},
    }
    return {key: value for key, value in subject.items() if value}
