"""A job by REST: durable once it is acknowledged, the same one when it is sent again, and an AIJob to kubectl."""

from __future__ import annotations

import http.client
import json
from datetime import UTC, datetime
from textwrap import shorten
from typing import Any
from urllib.parse import urlsplit

import yaml

from muster_api.names import GPU_RESOURCE
from muster_local.components import Component
from muster_local.demo.stage import NAMESPACE, Stage
from muster_local.errors import LocalError
from muster_local.token_issuer import User, grant, make_token

_USER = "ann"
_JOBS = "/api/v1/jobs/"
_NAME = "nightly"
_MEMBERS = 4
_SECONDS = 30.0
_CREATED, _OK = 201, 200

Fields = dict[str, Any]


class RestStory:
    """One story in front of the api and its stores."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._address = urlsplit(stage.cluster.url(Component.API)).netloc
        self._token = make_token(stage.cluster.layout, User(_USER, NAMESPACE), datetime.now(UTC))

    def run(self) -> None:
        self._stage.title("5. A job by REST")
        self._stage.type("muster", "local", "token", "--user", _USER, "--namespace", NAMESPACE)
        grant(self._stage.client, User(_USER, NAMESPACE))
        self._stage.client.apply(_compute_cluster())
        self._stage.say("201 is answered after the commit in Postgres: whatever dies now, the job is kept.")
        first = self._submit()
        self._stage.say("Its answer may be lost: the same request with the same key is the same job.")
        if self._submit() != first:
            raise LocalError("one Idempotency-Key has made two jobs")
        self._stage.wait(lambda: self._phase() == "Running", f"AIJob {_NAME} runs")
        self._stage.say("To kubectl it is an AIJob, in one order with all the others:")
        self._stage.kubectl("get", "aijobs", _NAME)
        self._stage.wait(lambda: self._told(first)["phase"] == "Running", f"{_NAME} runs over REST too")
        self._show_history(first)
        self._ask("DELETE", f"{_JOBS}{first}", _OK)
        self._stage.wait(lambda: self._phase() is None, f"AIJob {_NAME} is gone")
        self._stage.say("Cancelled over REST; its AIJob is gone, and its history stays.")

    def _submit(self) -> str:
        answer = self._ask("POST", _JOBS, _CREATED, _job(), {"Idempotency-Key": _NAME})
        return str(answer["job_id"])

    def _told(self, job_id: str) -> Fields:
        return self._asked("GET", f"{_JOBS}{job_id}", _OK)

    def _show_history(self, job_id: str) -> None:
        for event in self._ask("GET", f"{_JOBS}{job_id}/events", _OK)["items"]:
            self._stage.say(f"  {event['number']:2} {event['phase'] or '':10} {event['reason']:12} {event['message']}")

    def _phase(self) -> str | None:
        status = self._stage.status("aijobs", _NAME)
        return None if status is None else str(status.get("phase", ""))

    def _ask(self, method: str, path: str, status: int, body: Any = None, headers: Fields | None = None) -> Fields:
        """Shows what a user would type and what is answered in short."""
        shown = [f"-H '{name}: {value}'" for name, value in (headers or {}).items()]
        shown += [f"-d '{json.dumps(body)}'"] if body is not None else []
        self._stage.type("curl", "-X", method, f"http://{self._address}{path}", *shown)
        answer = self._asked(method, path, status, body, headers)
        if "job_id" in answer:
            told = {name: answer[name] for name in ("job_id", "name", "phase", "priority")}
            self._stage.say(f"{status} {json.dumps(told)}")
        return answer

    def _asked(self, method: str, path: str, status: int, body: Any = None, headers: Fields | None = None) -> Fields:
        connection = http.client.HTTPConnection(self._address, timeout=_SECONDS)
        sent = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json", **(headers or {})}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise LocalError(f"the api does not answer: {error}") from error
        finally:
            connection.close()
        if response.status != status:
            raise LocalError(f"{method} {path}: {response.status} {shorten(text, 300)}")
        answer: Fields = json.loads(text)
        return answer


def _job() -> Fields:
    return {
        "name": _NAME,
        "job_type": "training",
        "priority": 80,
        "image": "pytorch-ddp:latest",
        "cluster": "simulated",
        "resources": {"requests": {"cpu": "1", GPU_RESOURCE: 1}},
        "gang": {"enabled": True, "min_members": _MEMBERS, "topology": "ring"},
    }


def _compute_cluster() -> Fields:
    document: Fields = yaml.safe_load("""
        apiVersion: aiplatform.example.com/v1alpha1
        kind: ComputeCluster
        metadata: {name: simulated}
        spec: {nodeSelector: {type: kwok}}
        """)
    return document
