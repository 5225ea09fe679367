"""Real gangs of processes train; killed and resumed, they take exactly the steps they would have taken."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch", reason="torch is in the worker's own environment: make worker-tests")

if TYPE_CHECKING:
    from bones.worker_gang import WorkerGang

StartGang = Callable[..., "WorkerGang"]
Uninterrupted = Callable[[int], "WorkerGang"]

STEPS = {1: 176, 2: 88, 4: 44}
KILLED_AT = 12
SLOWLY = 25
PEER_TIMEOUT_SECONDS = 5.0


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_gang_learns_to_read_digits(uninterrupted: Uninterrupted, size: int) -> None:
    gang = uninterrupted(size)
    assert sorted(gang.losses()) == list(range(1, STEPS[size] + 1))
    for member in gang.members:
        last = member.events()[-1]
        assert (last["event"], last["exit_code"], last["rank"], last["world_size"]) == (
            "finished",
            0,
            member.rank,
            size,
        )
        assert last["accuracy"] >= 0.85


def test_the_default_training_reads_at_least_19_of_20_digits(start_gang: StartGang) -> None:
    gang = start_gang(1, epochs=10, hidden_width=128)
    assert gang.exit_codes() == [0]
    assert gang.first.events("finished")[0]["accuracy"] >= 0.95


@pytest.mark.parametrize(
    ("size", "number", "ranks", "codes"),
    [
        (4, signal.SIGTERM, (), [143, 143, 143, 143]),
        (2, signal.SIGTERM, (1,), [143, 143]),
        (4, signal.SIGKILL, (3,), [1, 1, 1, -signal.SIGKILL]),
        (2, signal.SIGKILL, (), [-signal.SIGKILL, -signal.SIGKILL]),
    ],
    ids=["all are told to stop", "one is told to stop", "one is killed", "all are killed"],
)
def test_losses_after_kill_and_resume_are_those_of_the_uninterrupted_run(
    start_gang: StartGang,
    uninterrupted: Uninterrupted,
    tmp_path: Path,
    size: int,
    number: signal.Signals,
    ranks: tuple[int, ...],
    codes: list[int],
) -> None:
    killed = start_gang(size, checkpoints=tmp_path / "kept", step_delay_ms=SLOWLY)
    killed.first.await_step(KILLED_AT)
    killed.send(number, *ranks)
    assert killed.exit_codes() == codes

    resumed = start_gang(size, checkpoints=tmp_path / "kept")
    assert resumed.exit_codes() == [0] * size
    taken_up = resumed.first.events("resumed")[0]["step"]
    assert 10 <= taken_up < STEPS[size]
    if codes[0] >= 0:
        # Rank 0 has saved its last complete step: nothing is computed twice.
        assert taken_up == max(killed.losses())
    assert min(resumed.losses()) == taken_up + 1

    whole = uninterrupted(size)
    assert killed.losses().items() <= whole.losses().items()
    assert killed.losses() | resumed.losses() == whole.losses()
    assert resumed.first.events()[-1]["accuracy"] == whole.first.events()[-1]["accuracy"]


def test_a_truncated_checkpoint_is_passed_over_for_the_one_before(
    start_gang: StartGang, uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    first = start_gang(1, checkpoints=kept, epochs=1)
    assert first.exit_codes() == [0]
    newest, before = sorted(kept.iterdir(), reverse=True)[:2]
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    resumed = start_gang(1, checkpoints=kept)
    assert resumed.exit_codes() == [0]
    assert resumed.first.events("checkpoint_unreadable")[0]["path"] == str(newest)
    assert resumed.first.events("resumed")[0]["path"] == str(before)
    assert first.losses() | resumed.losses() == uninterrupted(1).losses()


def test_a_checkpoint_of_another_configuration_is_refused_by_all(start_gang: StartGang, tmp_path: Path) -> None:
    assert start_gang(1, checkpoints=tmp_path / "kept", epochs=1).exit_codes() == [0]
    other = start_gang(2, checkpoints=tmp_path / "kept", learning_rate=0.1)
    assert other.exit_codes() == [2, 2]
    for member in other.members:
        message = member.events("refused")[0]["message"]
        assert "learning_rate: the checkpoint was made with 0.003, this job has 0.1" in message


def test_a_training_goes_on_in_a_gang_of_another_size(start_gang: StartGang, tmp_path: Path) -> None:
    assert start_gang(1, checkpoints=tmp_path / "kept", epochs=1).exit_codes() == [0]
    wider = start_gang(2, checkpoints=tmp_path / "kept", epochs=2)
    assert wider.exit_codes() == [0, 0]
    assert [event["epoch"] for event in wider.first.events("epoch")] == [1]
    assert wider.first.events("world_size_changed")


def test_a_silent_peer_ends_the_others_in_time(start_gang: StartGang, tmp_path: Path) -> None:
    gang = start_gang(2, checkpoints=tmp_path / "kept", step_delay_ms=SLOWLY, peer_timeout_seconds=PEER_TIMEOUT_SECONDS)
    gang.first.await_step(3)
    gang.send(signal.SIGSTOP, 1)
    begin = time.monotonic()
    assert gang.first.exit_code() == 1
    assert time.monotonic() - begin < PEER_TIMEOUT_SECONDS + 15
    message = gang.first.events("failed")[0]["message"]
    assert "a peer was lost" in message
    assert f"the checkpoint is at step {max(gang.losses())}" in message


def test_the_first_rank_saves_on_sigterm_although_a_peer_is_silent(start_gang: StartGang, tmp_path: Path) -> None:
    gang = start_gang(2, checkpoints=tmp_path / "kept", step_delay_ms=SLOWLY, termination_grace_seconds=0.5)
    gang.first.await_step(3)
    gang.send(signal.SIGSTOP, 1)
    gang.send(signal.SIGTERM, 0)
    assert gang.first.exit_code() == 143
    assert gang.first.events("checkpoint")[-1]["step"] == max(gang.losses())
    assert "without its peers" in (tmp_path / "attempt-1" / "message-0").read_text()


def test_a_member_that_stays_alone_gives_up(start_gang: StartGang) -> None:
    gang = start_gang(2, only=[1], join_timeout_seconds=1)
    assert gang.exit_codes() == [1]
    assert "the 2 members did not find each other" in gang.first.events("failed")[0]["message"]


def test_a_member_that_still_waits_for_its_peers_ends_on_sigterm(start_gang: StartGang) -> None:
    gang = start_gang(2, only=[0])
    gang.first.await_event(lambda event: event["event"] == "started")
    gang.send(signal.SIGTERM)
    assert gang.exit_codes() == [143]


def test_an_address_that_is_taken_is_named(start_gang: StartGang) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        gang = start_gang(2, only=[0], environment={"MASTER_PORT": port})
        assert gang.exit_codes() == [1]
    assert f"rank 0 cannot listen on 127.0.0.1 port {port}" in gang.first.events("failed")[0]["message"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"batch_size": 1438}, "batch_size: 1438 samples on each of 1 ranks are more than the 1437 there are"),
        ({"backend": "nccl"}, "backend: nccl needs a GPU"),
    ],
    ids=["batch larger than the data", "nccl without a GPU"],
)
def test_what_cannot_work_here_is_refused(start_gang: StartGang, options: dict[str, int | str], named: str) -> None:
    gang = start_gang(1, environment={"CUDA_VISIBLE_DEVICES": ""}, **options)
    assert gang.exit_codes() == [2]
    assert named in gang.first.events("refused")[0]["message"]


def test_a_loss_that_is_no_number_ends_the_training(start_gang: StartGang, tmp_path: Path) -> None:
    assert start_gang(1, checkpoints=tmp_path / "kept", epochs=1).exit_codes() == [0]
    newest = max((tmp_path / "kept").iterdir())
    checkpoint = torch.load(newest)
    checkpoint["model"]["0.bias"].fill_(float("nan"))
    torch.save(checkpoint, newest)
    gang = start_gang(1, checkpoints=tmp_path / "kept")
    assert gang.exit_codes() == [1]
    assert "the loss of step 45 is nan" in gang.first.events("failed")[0]["message"]


def test_a_place_for_checkpoints_that_cannot_be_used_is_named(start_gang: StartGang, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    gang = start_gang(2, checkpoints=tmp_path / "file")
    assert gang.exit_codes() == [1, 1]
    assert f"checkpoints cannot be kept in {tmp_path / 'file'}" in gang.first.events("failed")[0]["message"]
