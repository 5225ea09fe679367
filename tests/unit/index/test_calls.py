"""How errors of the client library become ours, and how scripts are taught."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from redis import exceptions

from muster_queue.index.calls import Calls
from muster_queue.index.connection import Connected
from muster_queue.index.errors import IndexAway, IndexFailure, IndexFull, IndexMisused
from muster_queue.index.lua import script


class ScriptedClient:
    """Answers each command with the next of what it was given."""

    def __init__(self, *answers: object) -> None:
        self.asked: list[tuple[object, ...]] = []
        self._answers = list(answers)

    async def execute_command(self, *command: object) -> object:
        self.asked.append(command)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exceptions.ConnectionError("refused"), IndexAway),
        (exceptions.TimeoutError("slow"), IndexAway),
        (exceptions.AuthenticationError("WRONGPASS"), IndexAway),
        (exceptions.ReadOnlyError("a replica"), IndexAway),
        (exceptions.BusyLoadingError("loading"), IndexAway),
        (exceptions.ClusterDownError("CLUSTERDOWN"), IndexAway),
        (exceptions.SlotNotCoveredError("a node is missing"), IndexAway),
        (exceptions.ResponseError("READONLY You can't write against a read only replica. script: 1"), IndexAway),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."), IndexAway),
        (exceptions.ResponseError("MISCONF Errors writing to the AOF file"), IndexAway),
        (exceptions.OutOfMemoryError("command not allowed"), IndexFull),
        (exceptions.ResponseError("OOM command not allowed when used memory > 'maxmemory'. script: 1"), IndexFull),
        (exceptions.ResponseError("WRONGTYPE Operation against a key"), IndexMisused),
        (exceptions.NoPermissionError("NOPERM User app has no permissions"), IndexMisused),
        (exceptions.ClusterCrossSlotError("CROSSSLOT Keys in request"), IndexMisused),
        (OSError("no route"), IndexAway),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, Exception) else "",
)
async def test_every_failure_is_one_of_three(error: Exception, expected: type[IndexFailure]) -> None:
    with pytest.raises(IndexFailure) as caught:
        await Calls(Connected(ScriptedClient(error)), 1.0).run("take", ("key",), (1,))
    assert type(caught.value) is expected
    assert str(caught.value).startswith("take: ")
    assert caught.value.__cause__ is error


async def test_a_script_is_sent_whole_only_where_it_is_not_known() -> None:
    client = ScriptedClient(7, exceptions.NoScriptError("NOSCRIPT"), 8)
    calls = Calls(Connected(client), 1.0)
    assert [await calls.run("take", ("key",), (1, 2)) for _ in range(2)] == [7, 8]
    known = ("EVALSHA", script("take").digest, 1, "key", 1, 2)
    assert client.asked == [known, known, ("EVAL", script("take").source, 1, "key", 1, 2)]


async def test_a_call_that_hangs_is_given_up() -> None:
    class HangingClient:
        async def execute_command(self, *command: object) -> object:
            return await asyncio.Event().wait()

    with pytest.raises(IndexAway, match="take: TimeoutError"):
        await Calls(Connected(HangingClient()), 0.001).run("take", (), ())


async def test_a_cancellation_that_the_client_library_loses_is_not_lost() -> None:
    """A leader that goes on looking at the index would keep the next one from leading."""
    asked = asyncio.Event()

    class Deaf:
        async def execute_command(self, *_: object) -> bytes:
            with contextlib.suppress(asyncio.CancelledError):
                asked.set()
                await asyncio.Event().wait()
            return b"1"

    call = asyncio.create_task(Calls(Connected(Deaf()), 60.0).run("take", ("key",), (1,)))
    async with asyncio.timeout(10):
        await asked.wait()
        call.cancel()
        await asyncio.wait({call})
    assert call.cancelled()
