"""These tests train for real, in the environment that `make worker` makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from bones.worker_gang import WorkerGang

StartGang = Callable[..., "WorkerGang"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A gang's members are processes; on a busy machine they take their time."""
    for item in items:
        item.add_marker(pytest.mark.timeout(180))


@pytest.fixture
def start_gang(tmp_path: Path) -> Iterator[StartGang]:
    """Starts attempts one after the other, each with a folder of its own, and leaves none running."""
    from bones.worker_gang import WorkerGang

    started: list[WorkerGang] = []

    def start(size: int, **options: Any) -> WorkerGang:
        gang = WorkerGang(tmp_path / f"attempt-{len(started) + 1}", size, **options)
        started.append(gang)
        return gang

    yield start
    for gang in started:
        gang.end()


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], WorkerGang]:
    """The gang of each size that nothing happened to, run once."""
    from bones.worker_gang import WorkerGang

    done: dict[int, WorkerGang] = {}

    def run(size: int) -> WorkerGang:
        if size not in done:
            done[size] = WorkerGang(tmp_path_factory.mktemp("uninterrupted"), size)
            assert done[size].exit_codes() == [0] * size, done[size].first.output.read_text()
        return done[size]

    return run
