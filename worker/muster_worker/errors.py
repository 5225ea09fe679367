"""What can end a worker before its work is done; the text of each goes into the log and the termination message.

WorkerError
├── RefusedError
│   └── CheckpointMismatchError
├── JoinFailedError
├── PeerLostError
├── DivergedError
├── CheckpointFolderError
└── TerminatedError
"""

from __future__ import annotations

from typing import ClassVar

from muster_worker.exit_codes import ExitCode


class WorkerError(Exception):
    """The root: carries the exit status that the process ends with."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
    event: ClassVar[str] = "failed"


class RefusedError(WorkerError):
    """An option, the place or the installation is not good; the text names each field and what would be accepted."""

    exit_code = ExitCode.REFUSED
    event = "refused"


class CheckpointMismatchError(RefusedError):
    """The newest checkpoint was made with options under which the loss sequence would be another."""


class JoinFailedError(WorkerError):
    """The members did not find each other in time."""


class PeerLostError(WorkerError):
    """Another member has ended, or has been silent for longer than the time allowed."""


class DivergedError(WorkerError):
    """The loss is not a number any more."""


class CheckpointFolderError(WorkerError):
    """The place for checkpoints cannot be used."""


class TerminatedError(WorkerError):
    """This member or one of its peers was told to stop."""

    exit_code = ExitCode.TERMINATED
    event = "terminated"
