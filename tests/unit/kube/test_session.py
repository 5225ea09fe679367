"""What each way of answering, or not answering, means to a caller."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bones.scripted_api_server import Answer, hangs_up, refuses, says, scripted
from muster_kube import errors
from muster_kube.credentials import Credentials
from muster_kube.session import ApiSession
from muster_kube.writer import Writer

WRITES = ["POST", "PUT", "PATCH", "DELETE"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (refuses(400, "BadRequest"), errors.Invalid),
        (refuses(403, "Forbidden"), errors.Forbidden),
        (refuses(404, "NotFound"), errors.NotFound),
        (refuses(409, "Conflict"), errors.Conflict),
        (refuses(409, "AlreadyExists"), errors.AlreadyExists),
        (refuses(410, "Expired"), errors.Gone),
        (refuses(418, "Teapot"), errors.ApiError),
        (refuses(422, "Invalid"), errors.Invalid),
        (refuses(429, "TooManyRequests"), errors.TooManyRequests),
        (refuses(500, "InternalError"), errors.AmbiguousWrite),
        (refuses(504, "Timeout", "etcdserver: request timed out"), errors.AmbiguousWrite),
        (says(502, "no Status at all"), errors.AmbiguousWrite),
        (hangs_up(), errors.AmbiguousWrite),
    ],
)
async def test_refused_write_raises_its_own_error(
    answer: Answer, expected: type[errors.ApiError], tmp_path: Path
) -> None:
    async with scripted(answer) as server, await ApiSession.connect(server.write_kubeconfig(tmp_path)) as session:
        with pytest.raises(errors.ApiError) as raised:
            await session.request("POST", "/api/v1/pods", body=b"{}")
    assert type(raised.value) is expected


@pytest.mark.parametrize("method", WRITES)
async def test_write_whose_answer_is_lost_is_sent_once_only(method: str, tmp_path: Path) -> None:
    """A hidden second attempt would meet a conflict with the first one's success."""
    async with scripted(says(200, {}), hangs_up(), says(200, {})) as server:
        async with await ApiSession.connect(server.write_kubeconfig(tmp_path)) as session:
            await session.request(method, "/api/v1/pods", body=b"{}")
            with pytest.raises(errors.AmbiguousWrite):
                await session.request(method, "/api/v1/pods", body=b"{}")
        assert len(server.requests) == 2


async def test_read_is_tried_again_on_a_connection_closed_meanwhile(tmp_path: Path) -> None:
    async with (
        scripted(hangs_up(), says(200, {"found": True})) as server,
        await ApiSession.connect(server.write_kubeconfig(tmp_path)) as session,
    ):
        assert await session.get("/api/v1/pods") == b'{"found": true}'


async def test_server_that_is_away_did_certainly_not_write(tmp_path: Path) -> None:
    async with scripted() as server:
        kubeconfig = server.write_kubeconfig(tmp_path)
    async with await ApiSession.connect(kubeconfig) as session:
        with pytest.raises(errors.Unavailable) as raised:
            await session.request("POST", "/api/v1/pods", body=b"{}")
    assert type(raised.value) is errors.Unavailable


async def test_silent_server_ends_in_a_timeout(tmp_path: Path) -> None:
    async with scripted() as server, await ApiSession.connect(server.write_kubeconfig(tmp_path)) as session:
        with pytest.raises(errors.AmbiguousWrite):
            await session.request("POST", "/api/v1/pods", body=b"{}", timeout=0.2)
        with pytest.raises(errors.Unavailable):
            await session.get("/api/v1/pods", timeout=0.2)


async def test_retry_after_is_passed_on(tmp_path: Path) -> None:
    answer = refuses(429, "TooManyRequests", **{"Retry-After": "7"})
    async with scripted(answer) as server, await ApiSession.connect(server.write_kubeconfig(tmp_path)) as session:
        with pytest.raises(errors.TooManyRequests) as raised:
            await session.get("/api/v1/pods")
    assert raised.value.retry_after == 7


async def test_rotated_token_file_is_read_after_a_401(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old\n")
    async with scripted(refuses(401, "Unauthorized"), says(200, {})) as server:
        async with await ApiSession.connect(server.write_kubeconfig(tmp_path, tokenFile=str(token))) as session:
            token.write_text("new\n")
            await session.request("POST", "/api/v1/pods", body=b"{}")
        assert [request.headers["Authorization"] for request in server.requests] == ["Bearer old", "Bearer new"]


async def test_missing_kubeconfig_is_a_credentials_error(tmp_path: Path) -> None:
    with pytest.raises(errors.CredentialsError):
        await Credentials.find(tmp_path / "nowhere.yaml")


async def test_no_configuration_at_all_is_a_credentials_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(errors.CredentialsError):
        await Credentials.find()


async def test_writer_bounds_what_is_under_way(tmp_path: Path) -> None:
    async with scripted() as server, await ApiSession.connect(server.write_kubeconfig(tmp_path)) as session:
        writer = Writer(session, concurrency=1)
        binds = [asyncio.create_task(writer.bind_pod("ns", name, "uid", "node", timeout=0.2)) for name in "ab"]
        await asyncio.wait(binds, return_when=asyncio.FIRST_COMPLETED)
        assert [request.path for request in server.requests] == ["/api/v1/namespaces/ns/pods/a/binding"]
        await asyncio.gather(*binds, return_exceptions=True)
        assert len(server.requests) == 2
