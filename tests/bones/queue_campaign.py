"""The whole queue service under clients that never rest while its processes are killed; then the reckoning."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import urllib3

from bones.control_plane import Faults, start_cluster
from bones.job_stage import JobStage
from bones.kube import KubeError
from bones.names import EXIT_CODE
from bones.pool_workers import Employer, WorkerProcess
from bones.queue_clients import Client
from bones.queue_fates import Fates, Workers
from bones.queue_ledger import Ledger
from bones.queue_orders import FAILS, IDLE_QUEUE
from bones.queue_truth import AttemptWatch, Truth, missing_in_the_index, wrong_objects
from bones.rest_api import JOBS, NoAnswerError, RestApi
from bones.stage import phase_of
from bones.telling import tell
from muster_local.cluster import Cluster
from muster_local.token_issuer import Role

CLIENTS = 4
WORKERS = 2
SETTINGS = {"MUSTER_POOL_LEASE_SECONDS": "5", "MUSTER_DISPATCH_WINDOW": "20"}
"""Lost workers are noticed soon, and the backlog is longer than what Kubernetes sees of it."""
WORKER_ROLE = "muster-worker"
REPLAYED_IN_THE_END = 20
LOOK_SECONDS = 1.0
TOLD_STROKES = 25


@contextmanager
def campaign_cluster(folder: Path) -> Iterator[Cluster]:
    """A control plane with both stores; whatever starts in it later has the same settings."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        running = start_cluster(folder, nodes=0, stores=True)
        try:
            yield running
        finally:
            running.down(purge=True)


@dataclass
class Campaign:
    """One run from one seed."""

    cluster: Cluster
    jobs: JobStage
    faults: Faults
    folder: Path
    seed: str
    ledger: Ledger = field(default_factory=Ledger)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._namespace = self.jobs.namespace
        self._api = RestApi(self.cluster, self._namespace)
        self._auditor = RestApi(self.cluster, self._namespace, "auditor", Role.CLUSTER_ADMIN)
        self._worker = RestApi(self.cluster, self._namespace, "worker", Role.VIEW)
        self.cluster.client.apply(_lease_binding(self._namespace))
        self._database = self.cluster.store_url("postgres")

    def run(self, kills: int, jobs: int, pause: float, rest_seconds: float) -> None:
        """So many strokes while so many jobs are submitted; then everything has to be right."""
        begin = time.monotonic()
        with ExitStack() as stack:
            watch = stack.enter_context(_watching(self._database))
            stack.enter_context(_ending_pods(self.jobs, self.seed))
            fates = Fates(
                self.cluster, self.faults, stack.enter_context(self._workers("default", WORKERS)), self._chance
            )
            clients = self._clients(jobs)
            with _working(clients):
                while fates.kills.total() < kills:
                    for client in clients:
                        client.progress = (fates.kills.total() + 1) / kills
                    time.sleep(self._chance.uniform(0, 2 * pause))
                    fates.strike()
                    self._tell_progress(fates, time.monotonic() - begin)
                hurt = time.monotonic()
                for client in clients:
                    client.progress = 1.0
            self.wait_rest(rest_seconds, before_the_idle=True)
            stack.enter_context(self._workers(IDLE_QUEUE, 1))
            self.wait_rest(rest_seconds, before_the_idle=False)
            self._check_replays()
        assert not watch.found, f"jobs with two open attempts at a time: {watch.found}"
        assert watch.looks > 10
        self._check_audit()
        self._tell(fates, watch, hurt - begin, time.monotonic() - hurt)

    def wait_rest(self, seconds: float, *, before_the_idle: bool) -> None:
        """Until all is as it has to be."""
        deadline = time.monotonic() + seconds
        while found := self._complaints(before_the_idle):
            if time.monotonic() > deadline:
                shown = "\n  ".join(found[:30])
                raise AssertionError(f"not at rest ({len(found)} complaints):\n  {shown}")
            self._release_all()
            time.sleep(LOOK_SECONDS)

    def _clients(self, jobs: int) -> list[Client]:
        share = -(-jobs // CLIENTS)
        return [
            Client(f"client-{number}", self.seed, share, self._api, self.jobs.kube, self._namespace, self.ledger)
            for number in range(CLIENTS)
        ]

    @contextmanager
    def _workers(self, queue: str, count: int) -> Iterator[Workers]:
        employer = Employer(self.cluster.url("api"), self._namespace, self._worker.token)

        def make(name: str) -> WorkerProcess:
            return WorkerProcess(employer, self.folder, f"{queue}-{name}", "--queue", queue, concurrency=4)

        workers = Workers(make, count)
        try:
            yield workers
        finally:
            workers.stop()

    def _release_all(self) -> None:
        """Nobody comes back for what was held."""
        with contextlib.suppress(NoAnswerError):
            answer = self._api.ask("GET", f"{JOBS}?namespace={self._namespace}&phase=Held&limit=500")
            for job in answer.json()["items"] if answer.status == 200 else ():
                self._api.ask("POST", f"{JOBS}{job['job_id']}/release")

    def _complaints(self, before_the_idle: bool) -> list[str]:
        truth = Truth.read(self._database, self._namespace)
        found = [*self.ledger.complaints, *self._wrong_jobs(truth, before_the_idle)]
        found += truth.wrong_histories()
        found += wrong_objects(self.jobs.kube, self._namespace, truth.jobs)
        return [*found, *missing_in_the_index(self.cluster, self._namespace, truth.jobs)]

    def _wrong_jobs(self, truth: Truth, before_the_idle: bool) -> Iterator[str]:
        found = truth.by_ticket()
        yield from (f"nobody wanted {ticket!r}" for ticket in found.keys() - self.ledger.entries.keys())
        for ticket, entry in self.ledger.entries.items():
            wrong = entry.complaints(found.get(ticket, []), before_the_idle=before_the_idle)
            yield from (f"{ticket}: {text}" for text in wrong)

    def _check_replays(self) -> None:
        """Keys are known over everything that has happened."""
        known = [entry for entry in self.ledger.acknowledged() if entry.key]
        for entry in self._chance.sample(known, min(REPLAYED_IN_THE_END, len(known))):
            body = entry.order.body(self._namespace, self._namespace)
            answer = self._api.ask("POST", JOBS, body, Idempotency_Key=entry.key)
            assert answer.status == 201 and answer.headers["Idempotent-Replayed"] == "true", answer.body
            assert answer.json()["job_id"] == entry.job_id

    def _check_audit(self) -> None:
        answer = self._auditor.ask("GET", "/api/v1/audit/verify")
        assert answer.status == 200, answer.body
        verdict = answer.json()
        assert verdict["intact"] and verdict["checked_rows"] > len(self.ledger.acknowledged()) // 100, verdict

    def _tell_progress(self, fates: Fates, seconds: float) -> None:
        """For whoever watches a long one."""
        if fates.strokes % TOLD_STROKES == 0:
            tell(f"{fates.kills.total()} kills in {seconds:.0f} s, {len(self.ledger.entries)} jobs wanted")

    def _tell(self, fates: Fates, watch: AttemptWatch, hurt: float, rest: float) -> None:
        truth = Truth.read(self._database, self._namespace)
        ledger, attempts = self.ledger, sum(map(len, truth.attempts.values()))
        tell(
            f"{fates.kills.total()} kills {dict(fates.kills)} and {fates.flushes} times FLUSHALL in {hurt:.0f} s: "
            f"{len(ledger.entries)} jobs wanted, {len(ledger.acknowledged())} acknowledged, "
            f"{ledger.lost_answers} answers lost, {ledger.replays} sent twice on purpose, {ledger.changes} changes; "
            f"at rest after {rest:.0f} s more: {dict(truth.phases())}, {attempts} attempts, "
            f"{watch.looks} looks for two at a time"
        )


@contextmanager
def _watching(url: str) -> Iterator[AttemptWatch]:
    watch = AttemptWatch(url)
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()


@contextmanager
def _working(clients: list[Client]) -> Iterator[None]:
    """They go on to the end of their share, unless this fails."""
    for client in clients:
        client.start()
    try:
        yield
    except BaseException:
        for client in clients:
            client.stop()
        raise
    finally:
        for client in clients:
            client.join()


@contextmanager
def _ending_pods(jobs: JobStage, seed: str) -> Iterator[None]:
    """Pods end some time after they have begun to run, as their jobs have ordered it."""
    over, chance = threading.Event(), random.Random(f"{seed} pods")

    def go_on() -> None:
        while not over.wait(0.3):
            with contextlib.suppress(KubeError, urllib3.exceptions.HTTPError):
                _end_some(jobs, chance)

    thread = threading.Thread(target=go_on, name="pods")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _end_some(jobs: JobStage, chance: random.Random) -> None:
    for name, pod in jobs.kube.items("pods", jobs.namespace).items():
        is_told = EXIT_CODE in pod["metadata"].get("annotations", {})
        if phase_of(pod) == "Running" and not is_told and chance.random() < 0.5:
            variables = {one["name"]: one.get("value", "") for one in pod["spec"]["containers"][0]["env"]}
            fails = int(variables["MUSTER_ATTEMPT"]) <= int(variables[FAILS])
            jobs.end(name, int(fails))


def _lease_binding(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "workers", "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": WORKER_ROLE},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "local:worker"}],
    }
