"""Runs one job from its environment to its exit status: the composition root."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple, NoReturn, cast

import msgspec

from muster_api.jobs import JobType
from muster_worker.errors import RefusedError, WorkerError
from muster_worker.exit_codes import ExitCode
from muster_worker.installation import REMEDY
from muster_worker.option_reading import read_options
from muster_worker.options import InferenceOptions, SimulationOptions, TrainingOptions
from muster_worker.place import place_from
from muster_worker.progress_log import ProgressLog, job_labels
from muster_worker.termination import Termination
from muster_worker.termination_message import write_termination_message
from muster_worker.workplace import Workplace

JOB_TYPE = "MUSTER_JOB_TYPE"


class Kind(NamedTuple):
    """A kind of job; its module is imported only to run it, because torch takes seconds to import."""

    options: type[msgspec.Struct]
    module: str
    function: str


KINDS = {
    JobType.TRAINING: Kind(TrainingOptions, "muster_worker.training", "train"),
    JobType.INFERENCE: Kind(InferenceOptions, "muster_worker.inference", "infer"),
    JobType.SIMULATION: Kind(SimulationOptions, "muster_worker.simulation", "simulate"),
}


def job_type_from(environment: Mapping[str, str]) -> JobType:
    """What the reconciler says that this pod is for."""
    named = environment.get(JOB_TYPE, "")
    try:
        return JobType(named)
    except ValueError:
        raise RefusedError(f"{JOB_TYPE}: expected one of {', '.join(JobType)}, got {named!r}") from None


def run_job(job_type: JobType | None, given: Mapping[str, str], environment: Mapping[str, str]) -> int:
    """Does the work and tells how it ended: in the log, in the termination message and as the exit status."""
    log = ProgressLog(job_labels(environment))
    termination = Termination(log, lambda message: write_termination_message(environment, message))
    begin = time.monotonic()
    try:
        termination.watch()
        figures = _work(job_type or job_type_from(environment), given, environment, log, termination)
    except WorkerError as error:
        termination.settle()
        _end(log, environment, error.event, str(error), error.exit_code)
    except Exception as error:
        termination.settle()
        traceback.print_exc()
        _end(log, environment, "failed", f"{type(error).__name__}: {error}", ExitCode.FAILED)
    termination.settle()
    write_termination_message(environment, "finished: " + ", ".join(f"{key} {value}" for key, value in figures.items()))
    log.info("finished", **figures, seconds=round(time.monotonic() - begin, 3), exit_code=int(ExitCode.DONE))
    return ExitCode.DONE


def _work(
    job_type: JobType,
    given: Mapping[str, str],
    environment: Mapping[str, str],
    log: ProgressLog,
    termination: Termination,
) -> dict[str, Any]:
    place = place_from(environment)
    log.label(rank=place.rank, world_size=place.world_size)
    kind = KINDS[job_type]
    options = read_options(kind.options, environment, given)
    log.info("started", job_type=str(job_type), options=msgspec.to_builtins(options), process=os.getpid())
    try:
        function = getattr(import_module(kind.module), kind.function)
    except ImportError as error:
        raise RefusedError(f"{error}; {REMEDY}") from error
    return cast("dict[str, Any]", function(options, Workplace(place, environment, log, termination)))


def _end(log: ProgressLog, environment: Mapping[str, str], event: str, message: str, code: ExitCode) -> NoReturn:
    """Without a farewell to peers: waiting for one that is lost would never end."""
    write_termination_message(environment, f"{event}: {message}")
    log.error(event, message=message, exit_code=int(code))
    if code is ExitCode.REFUSED:
        sys.stderr.write(f"muster-worker: {message}\n")
    sys.stderr.flush()
    os._exit(code)
