"""The options of `muster-worker pool`; apart from the worker, so that other commands do not wait for its libraries."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from muster_worker.pool.handlers import HANDLERS

PROJECTED_FILE = "/var/run/secrets/muster/token"


def add_options(parser: argparse.ArgumentParser) -> None:
    """All of them also come from the environment, as MUSTER_POOL_URL and so on; the command line wins."""
    given = os.environ.get
    parser.add_argument("--url", default=given("MUSTER_POOL_URL"), help="of the api: https, or http to this machine")
    parser.add_argument("--namespace", default=given("MUSTER_POOL_NAMESPACE"), help="whose jobs to run")
    parser.add_argument("--queue", default=given("MUSTER_POOL_QUEUE", "default"), help="which of them [default]")
    parser.add_argument(
        "--concurrency", type=int, default=given("MUSTER_POOL_CONCURRENCY", "1"), help="jobs at once [1]"
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        default=given("MUSTER_POOL_TOKEN_FILE", PROJECTED_FILE),
        help=f"a token for the audience muster; read again and again, since it is replaced [{PROJECTED_FILE}]",
    )
    parser.add_argument("--ca-file", type=Path, default=given("MUSTER_POOL_CA_FILE"), help="who signs the api's TLS")
    parser.add_argument(
        "--job-type", action="append", metavar="TYPE", help=f"one of {', '.join(HANDLERS)}; may come twice [all]"
    )
    parser.add_argument("--name", default=given("MUSTER_POOL_NAME"), help="unique among the workers [host and chance]")
    parser.add_argument(
        "--grace-seconds",
        type=float,
        default=given("MUSTER_POOL_GRACE_SECONDS", "20"),
        help="after SIGTERM, for what is in hand to end; the rest is given back [20]",
    )
