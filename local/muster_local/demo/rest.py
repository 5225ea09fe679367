"""The same over HTTP: a job is submitted twice with one key, is there once, runs as a gang, and is cancelled."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from muster_api.names import GPU_RESOURCE
from muster_local.demo.stage import NAMESPACE, Stage
from muster_local.errors import LocalError
from muster_local.nodes import SIMULATED_LABEL, SIMULATED_VALUE
from muster_local.token_issuer import User, grant, make_token

_USER = User("ann", NAMESPACE)
_JOBS = "/api/v1/jobs/"
_KEY = "nightly"
_MEMBERS = 3
_NAME = "over-http"
_TIMEOUT_SECONDS = 30.0
_JOB = {
    "name": _NAME,
    "job_type": "training",
    "priority": 90,
    "image": "pytorch-ddp:latest",
    "cluster": "simulated",
    "resources": {"requests": {GPU_RESOURCE: 8}},
    "gang": {"enabled": True, "min_members": _MEMBERS},
}


@dataclass(frozen=True)
class Answer:
    """What the api has answered."""

    status: int
    is_replayed: bool
    body: dict[str, Any]


class RestStory:
    """One story on simulated nodes, by somebody who has a token of their own."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._address = urlsplit(stage.cluster.url("api"))
        self._token = ""

    def run(self) -> None:
        stage = self._stage
        stage.title("5. Jobs over HTTP")
        stage.type(f"TOKEN=$(muster local token --user {_USER.name} --namespace {_USER.namespace})")
        grant(stage.client, _USER)
        self._token = make_token(stage.cluster.layout, _USER, datetime.now(UTC))
        stage.client.apply(_compute_cluster())
        path = _JOBS + self._submit_twice()
        self._wait(path, "Running")
        stage.say("It is an AIJob like any other, and both doors tell the same of it:")
        stage.kubectl("get", "aijobs", _NAME)
        self._cancel(path)

    def _submit_twice(self) -> str:
        self._stage.say("Sent twice with the same Idempotency-Key, as after a lost answer, it is one job:")
        self._stage.type(f"curl -X POST $URL{_JOBS} -H 'Idempotency-Key: {_KEY}' -d @job.json   # twice")
        first, again = self._ask("POST", _JOBS, _JOB), self._ask("POST", _JOBS, _JOB)
        for answer in (first, again):
            self._stage.say(f"  {answer.status} job_id {answer.body['job_id']}{' replayed' * answer.is_replayed}")
        if first.body["job_id"] != again.body["job_id"] or not again.is_replayed:
            raise LocalError("the same submission became two jobs")
        return str(first.body["job_id"])

    def _cancel(self, path: str) -> None:
        self._stage.say("Cancelled over HTTP, its pods go:")
        self._stage.type(f"curl -X DELETE $URL{path}")
        self._stage.say(f"  {self._ask('DELETE', path).body['message']}")
        self._stage.wait(lambda: self._stage.status("aijobs", _NAME) is None, f"AIJob {_NAME} is gone")
        for event in self._ask("GET", f"{path}/events").body["items"]:
            self._stage.say(f"  {event['time'][11:23]} {event['phase']:9} {event['reason']}")

    def _wait(self, path: str, phase: str) -> None:
        self._stage.wait(lambda: bool(self._ask("GET", path).body["phase"] == phase), f"job {_NAME} is {phase}")

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        if method == "POST":
            headers["Idempotency-Key"] = _KEY
        connection = http.client.HTTPConnection(self._address.netloc, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise LocalError(f"{method} {path}: {error}") from error
        finally:
            connection.close()
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise LocalError(f"{method} {path}: {response.status} {answer.get('detail', '')}")
        return Answer(response.status, response.headers["Idempotent-Replayed"] == "true", answer)


def _compute_cluster() -> dict[str, Any]:
    return {
        "apiVersion": "aiplatform.example.com/v1alpha1",
        "kind": "ComputeCluster",
        "metadata": {"name": "simulated"},
        "spec": {"nodeSelector": {SIMULATED_LABEL: SIMULATED_VALUE}},
    }
