"""The api over HTTP: a token that is read anew, a limit on every wait, errors that say whether to come again."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from muster_worker.errors import RefusedError
from muster_worker.pool.wire import End, Failure, Kept, Lease, Leases, Success, Verdict, Verdicts

CALL_SECONDS = 15.0
TOKEN_SECONDS = 10.0
"""How long a token is used before its file is read again: kubelet replaces it well before it ends."""
LARGEST_ANSWER = 16 << 20
T = TypeVar("T")


class ApiAwayError(Exception):
    """No answer, or one that says to come again; nothing is known to have happened."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ApiRefusedError(ApiAwayError):
    """The api does not let this worker do it: rights, token or request; somebody has to mend that."""


class TokenFile:
    """A ServiceAccount's token, which changes while the worker runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = ""
        self._read_at = -TOKEN_SECONDS

    def token(self) -> str:
        """Raises ApiRefusedError where it cannot be read now."""
        now = time.monotonic()
        if now - self._read_at >= TOKEN_SECONDS:
            try:
                self._token = self._path.read_text().strip()
            except OSError as error:
                raise ApiRefusedError(f"the token file cannot be read: {error}") from error
            self._read_at = now
        return self._token

    def forget(self) -> None:
        """It was not accepted: the next call reads the file."""
        self._read_at = -TOKEN_SECONDS


class PoolClient:
    """The three calls of one worker; use it as a context manager."""

    def __init__(self, url: str, namespace: str, queue: str, worker: str, token: TokenFile, ca: Path | None) -> None:
        self._base = f"{checked_url(url)}/api/v1/pools/{namespace}/{queue}"
        self._worker = worker
        self._token = token
        self._tls = ssl.create_default_context(cafile=str(ca)) if ca else True
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._tls))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def lease(self, most: int, wait_seconds: float, job_types: Sequence[str]) -> list[Lease]:
        body = {"worker": self._worker, "most": most, "wait_seconds": wait_seconds, "job_types": list(job_types)}
        return (await self._post("lease", body, Leases, CALL_SECONDS + wait_seconds)).leases

    async def heartbeat(self, attempts: Sequence[tuple[Lease, float | None]]) -> Kept:
        told = [{"job_id": lease.job_id, "attempt": lease.attempt, "progress": share} for lease, share in attempts]
        return await self._post("heartbeat", {"worker": self._worker, "attempts": told}, Kept, CALL_SECONDS)

    async def acknowledge(self, ends: Sequence[End]) -> list[Verdict]:
        body = {
            "worker": self._worker,
            "successes": [end for end in ends if isinstance(end, Success)],
            "failures": [end for end in ends if isinstance(end, Failure)],
        }
        return (await self._post("acknowledge", body, Verdicts, CALL_SECONDS)).attempts

    async def _post(self, what: str, body: dict[str, Any], kind: type[T], seconds: float) -> T:
        if self._session is None:
            raise RuntimeError("use the client as a context manager")
        headers = {"Authorization": f"Bearer {self._token.token()}", "Content-Type": "application/json"}
        try:
            async with self._session.post(
                f"{self._base}/{what}",
                data=msgspec.json.encode(body),
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=seconds),
                allow_redirects=False,
            ) as response:
                text = await response.content.read(LARGEST_ANSWER)
                self._check(response, text)
                return msgspec.json.decode(text, type=kind)
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
            raise ApiAwayError(f"{what}: {type(error).__name__}: {error}") from error

    def _check(self, response: aiohttp.ClientResponse, text: bytes) -> None:
        if response.status == 200:
            return
        said = f"{response.status} {text[:500].decode(errors='replace')}"
        if response.status == 401:
            self._token.forget()
        if response.status == 429 or response.status >= 500:
            raise ApiAwayError(said, retry_after=_seconds(response.headers.get("Retry-After", "")))
        raise ApiRefusedError(said)


def checked_url(url: str) -> str:
    """A token is not sent in clear over a network."""
    parts = urlsplit(url)
    is_near = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise RefusedError(f"--url: expected http(s)://HOST[:PORT], got {url!r}")
    if parts.scheme == "http" and not is_near:
        raise RefusedError(f"--url: {url!r} would send the token in clear; accepted is https, or http to this machine")
    return url.rstrip("/")


def _seconds(text: str) -> float:
    return float(text) if text.isdigit() and len(text) < 4 else 0.0
