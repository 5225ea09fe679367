"""`muster-worker pool`: its options, and the way from them to a running worker."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import secrets
import socket
import sys

from muster_worker.errors import RefusedError, WorkerError
from muster_worker.exit_codes import ExitCode
from muster_worker.pool.client import PoolClient, TokenFile
from muster_worker.pool.handlers import chosen_types
from muster_worker.pool.worker import PoolWorker, WorkerPlan
from muster_worker.progress_log import ProgressLog

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_WORKER = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,126}[A-Za-z0-9])?")
MOST = 1000


def run_pool(chosen: argparse.Namespace) -> int:
    """Until SIGTERM; a second one gives everything back at once."""
    log = ProgressLog({"namespace": chosen.namespace, "queue": chosen.queue})
    try:
        name = _checked(chosen)
        log.label(worker=name)
        return asyncio.run(_run(chosen, name, log))
    except WorkerError as error:
        log.error(error.event, message=str(error), exit_code=int(error.exit_code))
        sys.stderr.write(f"muster-worker: {error}\n")
        return error.exit_code


async def _run(chosen: argparse.Namespace, name: str, log: ProgressLog) -> int:
    plan = WorkerPlan(chosen.concurrency, chosen_types(chosen.job_type), chosen.grace_seconds)
    token = TokenFile(chosen.token_file)
    async with PoolClient(chosen.url, chosen.namespace, chosen.queue, name, token, chosen.ca_file) as client:
        log.info("started", concurrency=plan.concurrency, job_types=list(plan.job_types), process=os.getpid())
        done = await PoolWorker(client, plan, log).run()
    log.info("finished", ended=done, exit_code=int(ExitCode.DONE))
    return ExitCode.DONE


def _checked(chosen: argparse.Namespace) -> str:
    """The worker's name; raises a RefusedError that names each option that is not right."""
    problems = []
    if not chosen.url:
        problems.append("--url: is missing")
    for field in ("namespace", "queue"):
        if not _NAME.fullmatch(getattr(chosen, field) or ""):
            problems.append(f"--{field}: expected the name of one, got {getattr(chosen, field)!r}")
    if not 1 <= chosen.concurrency <= MOST:
        problems.append(f"--concurrency: expected 1 to {MOST}, got {chosen.concurrency}")
    if not 0 <= chosen.grace_seconds <= 3600:
        problems.append(f"--grace-seconds: expected 0 to 3600, got {chosen.grace_seconds:g}")
    for path in filter(None, (chosen.token_file, chosen.ca_file)):
        if not path.is_file():
            problems.append(f"{path}: is no file that can be read")
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:80].strip("-") or "worker"
    name = chosen.name or f"{host}-{secrets.token_hex(4)}"
    if not _WORKER.fullmatch(name):
        problems.append(f"--name: expected at most 128 letters, digits, '-', '_' and '.', got {name!r}")
    if problems:
        raise RefusedError("; ".join(problems))
    return name
