"""The running api as its users meet it: real HTTP, real tokens, and answers that may never come."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from muster_local.cluster import Cluster
from muster_local.token_issuer import Role, User, grant, make_token

JOBS = "/api/v1/jobs/"
ANSWER_SECONDS = 30.0
STREAM_SECONDS = 120.0


class NoAnswerError(Exception):
    """Nobody knows what has become of the request: the connection was refused or broke."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """Which kind of problem it is."""
        if self.status < 400:
            return ""
        return str(self.json().get("type", "")).removeprefix("urn:muster:problem:")


class RestApi:
    """One user's, in one namespace unless another is named."""

    def __init__(self, cluster: Cluster, namespace: str, user: str = "ann", role: Role = Role.EDIT) -> None:
        self._address = int(cluster.url("api").rpartition(":")[2])
        self.url = cluster.url("api")
        who = User(user, namespace, role)
        grant(cluster.client, who)
        self.token = make_token(cluster.layout, who, datetime.now(UTC))

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Raises NoAnswerError where there is none, whole."""
        with self._asked(method, path, body, ANSWER_SECONDS, headers) as response:
            return Answer(response.status, response.headers, response.read())

    def submit(self, **fields: Any) -> dict[str, Any]:
        """A job that has to be taken."""
        answer = self.ask("POST", JOBS, fields)
        assert answer.status == 201, answer.body
        job: dict[str, Any] = answer.json()
        return job

    def job(self, job_id: str) -> dict[str, Any]:
        answer = self.ask("GET", f"{JOBS}{job_id}")
        assert answer.status == 200, answer.body
        job: dict[str, Any] = answer.json()
        return job

    def lines(self, path: str, **headers: str) -> Iterator[str]:
        """The lines of a stream as they come, until it ends."""
        with self._asked("GET", path, None, STREAM_SECONDS, headers) as response:
            assert response.status == 200, response.read()
            for line in response:
                yield line.decode().rstrip("\n")

    @contextmanager
    def _asked(
        self, method: str, path: str, body: Any, seconds: float, headers: dict[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self._address, timeout=seconds)
        sent = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            yield connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswerError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
