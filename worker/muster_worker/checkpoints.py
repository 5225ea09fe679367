"""Checkpoints in a folder: each is there whole or not at all, and one that cannot be read is passed over."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from muster_worker.errors import CheckpointFolderError, CheckpointMismatchError
from muster_worker.progress_log import ProgressLog

FORMAT = 1
_NAME = re.compile(r"step-(\d{9,})\.pt")
_UNFINISHED = ".unfinished-"

Checkpoint = dict[str, Any]
"""`format`, `options` (those that the loss sequence depends on), `world_size`, `position`, `model`, `optimizer`."""


class CheckpointFolder:
    """Where rank 0 keeps the last few checkpoints of a job."""

    def __init__(self, path: Path, keep: int, log: ProgressLog) -> None:
        self.path = path
        self._keep = keep
        self._log = log

    def prepare(self) -> None:
        """Makes the folder, and removes what an earlier process did not finish."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for unfinished in self.path.glob(f"{_UNFINISHED}*"):
                unfinished.unlink(missing_ok=True)
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError("not writable")
        except OSError as error:
            raise CheckpointFolderError(f"checkpoints cannot be kept in {self.path}: {error}") from error

    def save(self, step: int, checkpoint: Checkpoint) -> Path:
        """Under its final name only once every byte is on the disk."""
        final = self.path / f"step-{step:09d}.pt"
        unfinished = self.path / f"{_UNFINISHED}{final.name}"
        with unfinished.open("wb") as file:
            torch.save({"format": FORMAT, **checkpoint}, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(final)
        self._sync_names()
        self._forget_old()
        return final

    def newest(self) -> tuple[Path, Checkpoint] | None:
        """The newest one that can be read; the log names those that cannot."""
        for path in reversed(self._kept()):
            try:
                return path, load_checkpoint(path)
            except Exception as error:
                # A damaged file can fail in any way inside of zip, pickle and torch.
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                self._log.warning("checkpoint_unreadable", path=str(path), reason=reason)
        return None

    def _kept(self) -> list[Path]:
        """Oldest first."""
        found = [(match, path) for path in self.path.iterdir() if (match := _NAME.fullmatch(path.name))]
        return [path for _, path in sorted((int(match[1]), path) for match, path in found)]

    def _forget_old(self) -> None:
        for path in self._kept()[: -self._keep]:
            path.unlink(missing_ok=True)

    def _sync_names(self) -> None:
        """A rename outlives a power failure only once its folder is on the disk too."""
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads tensors and plain values, never code; raises on whatever is not a whole checkpoint of ours."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"{damaged} is damaged")
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(checkpoint, dict) or checkpoint.get("format") != FORMAT:
        raise ValueError(f"not a checkpoint of format {FORMAT}")
    missing = {"options", "world_size", "position", "model", "optimizer"} - checkpoint.keys()
    if missing:
        raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    return checkpoint


def require_same_options(path: Path, made_with: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """A training goes on only from a checkpoint that it could have written itself."""
    names = sorted(made_with.keys() | wanted.keys())
    differing = [
        f"{name}: the checkpoint was made with {made_with.get(name)!r}, this job has {wanted.get(name)!r}"
        for name in names
        if made_with.get(name) != wanted.get(name)
    ]
    if differing:
        raise CheckpointMismatchError(
            f"{path} belongs to another configuration: {'; '.join(differing)}; "
            "accepted are the same values, or another checkpoint_dir"
        )
