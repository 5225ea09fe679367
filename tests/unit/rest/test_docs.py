"""What docs/api.md shows is what the api does."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from muster_queue.identity.settings import IssuerSettings
from muster_queue.rest.bulk import LARGEST_BULK, MOST_JOBS
from muster_queue.rest.operations import OPERATIONS
from muster_queue.rest.problems import Kind
from muster_queue.rest.queries import DEFAULT_LIMIT, LARGEST_LIMIT
from muster_queue.rest.submissions import read_job
from muster_queue.rest.wire import DEEPEST_JSON, LARGEST_JOB

TEXT = (Path(__file__).resolve().parents[3] / "docs/api.md").read_text()


def test_every_problem_is_in_the_table() -> None:
    rows = re.findall(r"^\| ([0-9, ]+) \| ([a-z, -]+) \|", TEXT, re.MULTILINE)
    told = {slug.strip(): statuses for statuses, slugs in rows for slug in slugs.split(",")}
    assert told.keys() == {kind.slug for kind in Kind}
    assert all(str(kind.status) in told[kind.slug] for kind in Kind)


def test_every_right_is_in_the_table() -> None:
    for operation in OPERATIONS:
        if operation.need is not None:
            need = operation.need
            kind = f"{need.resource}/{need.subresource}" if need.subresource else need.resource
            assert f"{need.verb} {kind or f'the path {need.path}'}" in TEXT, operation.name


def test_the_examples_are_taken() -> None:
    (job,) = re.findall(r"-d '(.*?)'", TEXT, re.DOTALL)
    assert read_job(job.encode()).spec.gang.min_members == 4
    (issuers,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    assert [IssuerSettings(**each) for each in msgspec.json.decode(issuers)]


def test_the_limits_are_the_limits() -> None:
    assert f"{LARGEST_JOB >> 20} MiB and {DEEPEST_JSON} levels" in TEXT
    assert f"{LARGEST_BULK >> 20} MiB, {MOST_JOBS:,} jobs" in TEXT
    assert f"up to {LARGEST_LIMIT} ({DEFAULT_LIMIT})" in TEXT
