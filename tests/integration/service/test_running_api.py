"""`muster-queue api` as `muster local` runs it: a process of its own, a real API server that judges, real stores."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bones.control_plane import start_cluster, wait_until
from bones.rest_world import JOB
from muster_api.names import GROUP, VERSION
from muster_local.cluster import Cluster
from muster_local.errors import LocalError
from muster_local.stores.finding import find_postgres, find_redis
from muster_local.token_issuer import Role, User, grant, make_token
from muster_queue.rest.operations import JOB_PARAMETER, OPERATIONS, Extent, Operation

pytestmark = pytest.mark.cluster

JOBS = "/api/v1/jobs/"
HERE = Path(__file__).parent
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "15")
SEED = os.environ.get("SCHEMATHESIS_SEED", "20260102")
NOT_NEEDED = ("kube-scheduler", "kwok", "webhook", "extender", "controller")
GUARDED = [operation for operation in OPERATIONS if operation.extent is not Extent.PUBLIC]
OF_A_JOB = [operation for operation in GUARDED if operation.extent is Extent.JOB]
names = pytest.mark.parametrize("operation", GUARDED, ids=lambda operation: operation.name)


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class RunningApi:
    cluster: Cluster

    def token(self, user: str, namespace: str = "default", **given: timedelta) -> str:
        return make_token(self.cluster.layout, User(user, namespace), datetime.now(UTC), **given)

    def account_token(self, account: str, *audiences: str) -> str:
        """Of a ServiceAccount in the namespace default, as `kubectl create token` makes one."""
        accounts = "/api/v1/namespaces/default/serviceaccounts"
        document = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}
        self.cluster.client.create(accounts, document, exist_ok=True)
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 3600, **({"audiences": list(audiences)} if audiences else {})},
        }
        answer = self.cluster.client.create(f"{accounts}/{account}/token", request)
        return str(answer["status"]["token"])

    def ask(self, method: str, path: str, token: str, body: Any = None, **headers: str) -> Answer:
        port = int(self.cluster.url("api").rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        sent = {"Content-Type": "application/json", **headers}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    try:
        find_postgres()
        find_redis()
    except LocalError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    cluster = start_cluster(tmp_path_factory.mktemp("api"), nodes=0, stores=True, without=NOT_NEEDED)
    running = RunningApi(cluster)
    grant(cluster.client, User("ann", "default", Role.EDIT))
    grant(cluster.client, User("root", "default", Role.CLUSTER_ADMIN))
    yield running
    cluster.down(purge=True)


def path_of(operation: Operation, job_id: str) -> str:
    return operation.path.replace(JOB_PARAMETER, job_id).replace("{namespace}", "default").replace("{queue}", "default")


def body_of(operation: Operation) -> Any:
    bodies: dict[str, Any] = {"submit_job": JOB, "submit_jobs": [JOB], "change_job": {"priority": 5}}
    bodies |= {"lease_jobs": {"worker": "w"}, "acknowledge_jobs": {"worker": "w"}}
    bodies["heartbeat_jobs"] = {"worker": "w", "attempts": []}
    return bodies.get(operation.name)


def submitted(api: RunningApi, token: str, **fields: Any) -> dict[str, Any]:
    answer = api.ask("POST", JOBS, token, {**JOB, **fields})
    assert answer.status == 201, answer.body
    job: dict[str, Any] = answer.json()
    return job


@names
def test_every_route_without_an_expired_and_a_foreign_token_is_closed(api: RunningApi, operation: Operation) -> None:
    job = submitted(api, api.token("root"))
    path = path_of(operation, job["job_id"])
    expired = make_token(api.cluster.layout, User("root", "default"), datetime.now(UTC) - timedelta(hours=9))
    foreign = api.account_token("runner", "somebody-else")
    for token in ("", expired, foreign, "made-up"):
        answer = api.ask(operation.method, path, token, body_of(operation))
        assert answer.status == 401, (token[:8], answer.body)
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="muster"')
    stranger = api.ask(operation.method, path, api.token("stranger"), body_of(operation))
    assert stranger.status == {Extent.JOB: 404}.get(operation.extent, 422 if operation.name == "submit_jobs" else 403)


@names
def test_every_route_opens_for_who_has_the_right(api: RunningApi, operation: Operation) -> None:
    token = api.token("root")
    job = submitted(api, token)
    answer = api.ask(operation.method, path_of(operation, job["job_id"]), token, body_of(operation))
    assert answer.status in (200, 201, 409), answer.body


def test_rbac_says_what_a_user_may(api: RunningApi) -> None:
    token = api.token("ann")
    job = submitted(api, token)
    assert job["submitted_by"] == "local:ann"
    assert api.ask("POST", JOBS, token, {**JOB, "namespace": "kube-system"}).status == 403
    assert api.ask("GET", f"{JOBS}?namespace=default", token).status == 200
    assert api.ask("GET", JOBS, token).status == 403
    assert api.ask("GET", "/api/v1/audit/verify", token).status == 403
    assert api.ask("GET", "/api/v1/clusters", token).status == 200


def test_service_accounts_come_in_with_tokens_made_for_us(api: RunningApi) -> None:
    token = api.account_token("worker", "muster")
    assert api.ask("POST", JOBS, token, JOB).status == 403
    api.cluster.client.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "worker-edits", "namespace": "default"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
            "subjects": [{"kind": "ServiceAccount", "name": "worker", "namespace": "default"}],
        }
    )
    again = api.account_token("worker", "muster")
    wait_until(lambda: api.ask("POST", JOBS, again, JOB).status == 201, 20, "the new right")
    assert submitted(api, again)["submitted_by"] == "system:serviceaccount:default:worker"


def test_a_queue_gives_its_jobs_their_priority(api: RunningApi) -> None:
    token = api.token("root")
    api.cluster.client.apply(
        {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "AIJobQueue",
            "metadata": {"name": "urgent", "namespace": "default"},
            "spec": {"priorityClass": "high", "maxConcurrency": 3},
        }
    )

    def is_told() -> bool:
        queues = api.ask("GET", "/api/v1/queues?namespace=default", token).json()["items"]
        return ("urgent", 80, 3) in [(queue["name"], queue["priority"], queue["max_concurrency"]) for queue in queues]

    wait_until(is_told, 20, "the queue in the list")
    assert submitted(api, token, queue="urgent")["priority"] == 80
    assert submitted(api, token, queue="urgent", priority=7)["priority"] == 7


def test_its_login_has_the_rights_of_the_app_and_no_more(api: RunningApi) -> None:
    import psycopg

    url = (api.cluster.layout.stores / "postgres-api.url").read_text().strip()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("select count(*) from muster.jobs")
        for forbidden in ("delete from muster.audit", "update muster.audit set actor = ''", "drop table muster.jobs"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden.encode())


def test_it_ends_in_good_order_and_says_so(api: RunningApi) -> None:
    token = api.token("root")
    job = submitted(api, token)
    api.cluster.stop("api")
    assert '"event": "stopped"' in api.cluster.log_path("api").read_text()
    api.cluster.start("api")
    assert api.ask("GET", JOBS + job["job_id"], token).status == 200
    assert token not in api.cluster.log_path("api").read_text()


@pytest.mark.timeout(900)
async def test_schemathesis_finds_nothing(api: RunningApi, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    if not program.exists() and not os.environ.get("CI"):
        pytest.skip("schemathesis is not installed")
    token = api.token("root")
    submitted(api, token)
    arguments = [
        "--config-file", str(HERE.parent / "rest" / "schemathesis.toml"), "run",
        f"{api.cluster.url('api')}/openapi.json", "--header", f"Authorization: Bearer {token}",
        "--max-examples", EXAMPLES, "--generation-database", "none", "--no-color", "--seed", SEED,
    ]  # fmt: skip
    path = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "bones.schemathesis_hooks", "PYTHONPATH": path}
    process = await asyncio.create_subprocess_exec(
        program, *arguments, cwd=tmp_path, env=environment, stdout=subprocess.PIPE
    )
    try:
        told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, findings(told) + api.cluster.log_path("api").read_text()[-4000:]


def findings(told: bytes) -> str:
    """What was found; what was sent can be as long as it likes."""
    _, _, found = told.decode(errors="replace").partition(" FAILURES ")
    return "\n".join(line[:400] for line in found.splitlines()[:150])
