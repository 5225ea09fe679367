"""A folder of checkpoints keeps the last few, and takes up nothing that is not whole."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="torch is in the worker's own environment: make worker-tests")

if TYPE_CHECKING:
    from muster_worker.checkpoints import CheckpointFolder


@pytest.fixture
def log() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def folder(tmp_path: Path, log: io.StringIO) -> CheckpointFolder:
    from muster_worker.checkpoints import CheckpointFolder
    from muster_worker.progress_log import ProgressLog

    kept = CheckpointFolder(tmp_path / "kept", keep=2, log=ProgressLog({}, log))
    kept.prepare()
    return kept


def checkpoint(step: int) -> dict[str, Any]:
    return {
        "options": {"seed": 0},
        "world_size": 1,
        "position": {"step": step, "epoch": 0, "offset": 0},
        "model": {"weight": torch.full((64, 64), float(step))},
        "optimizer": {},
    }


def test_the_last_few_are_kept(folder: CheckpointFolder) -> None:
    for step in (5, 10, 1_000_000_000):
        folder.save(step, checkpoint(step))
    assert sorted(path.name for path in folder.path.iterdir()) == ["step-000000010.pt", "step-1000000000.pt"]
    found = folder.newest()
    assert found is not None
    assert found[1]["position"]["step"] == 1_000_000_000


def test_an_empty_folder_has_none(folder: CheckpointFolder) -> None:
    assert folder.newest() is None


def test_what_was_not_finished_is_removed(folder: CheckpointFolder) -> None:
    (folder.path / ".unfinished-step-000000007.pt").write_bytes(b"half")
    (folder.path / "notes.txt").write_text("a user's own")
    folder.prepare()
    assert [path.name for path in folder.path.iterdir()] == ["notes.txt"]
    assert folder.newest() is None


def truncated(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def flipped(whole: bytes) -> bytes:
    middle = len(whole) // 2
    return whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]


def of_another_kind(whole: bytes) -> bytes:
    file = io.BytesIO()
    torch.save({"model": {}}, file)
    return file.getvalue()


def without_its_model(whole: bytes) -> bytes:
    file = io.BytesIO()
    torch.save({"format": 1, "position": {"step": 10}}, file)
    return file.getvalue()


@pytest.mark.parametrize(
    "damage",
    [truncated, flipped, lambda whole: b"", lambda whole: b"not a zip", of_another_kind, without_its_model],
    ids=["truncated", "one bit flipped", "empty", "text", "of another kind", "without its model"],
)
def test_a_damaged_one_is_passed_over_with_a_warning(
    folder: CheckpointFolder, log: io.StringIO, damage: Callable[[bytes], bytes]
) -> None:
    before = folder.save(5, checkpoint(5))
    newest = folder.save(10, checkpoint(10))
    newest.write_bytes(damage(newest.read_bytes()))
    found = folder.newest()
    assert found is not None
    assert found[0] == before
    warning = json.loads(log.getvalue())
    assert (warning["level"], warning["event"], warning["path"]) == ("warning", "checkpoint_unreadable", str(newest))


def test_code_in_a_checkpoint_is_not_run(folder: CheckpointFolder, tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
            return Path.touch, (tmp_path / "harm",)

    torch.save({**checkpoint(1), "format": 1, "options": Harmful()}, folder.path / "step-000000001.pt")
    assert folder.newest() is None
    assert not (tmp_path / "harm").exists()
