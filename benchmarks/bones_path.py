"""Makes what the tests use for real servers known to the benchmarks, which run as scripts of their own."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bones.pool_workers import Employer, WorkerProcess
    from bones.postgres import PostgresServer
    from bones.rest_api import RestApi
else:
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
    PostgresServer = import_module("bones.postgres").PostgresServer
    RestApi = import_module("bones.rest_api").RestApi
    workers = import_module("bones.pool_workers")
    Employer, WorkerProcess = workers.Employer, workers.WorkerProcess

__all__ = ["Employer", "PostgresServer", "RestApi", "WorkerProcess"]
