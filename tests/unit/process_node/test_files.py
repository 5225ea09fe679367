"""Hosts files, volumes, logs and addresses."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bones.process_world import pod, sources
from muster_local.process_node.addresses import Addresses
from muster_local.process_node.environment import ConfigurationError
from muster_local.process_node.hosts import hosts_file, own_lines, peer_lines
from muster_local.process_node.logs import Entry, LogQuery, LogQueryError, parse, read_log, select_entries
from muster_local.process_node.objects import Peer
from muster_local.process_node.supervisor.output import LogFile, Stream
from muster_local.process_node.volumes import File, volume_files, write_files


def peer(hostname: str, subdomain: str, address: str, **status: str) -> Peer:
    document: dict[str, Any] = {
        "metadata": {"name": hostname or "x", "namespace": "team", "uid": hostname},
        "spec": {"hostname": hostname, "subdomain": subdomain},
        "status": {"podIP": address, **status},
    }
    return msgspec.convert(document, Peer)


def test_a_pod_knows_itself_by_all_its_names() -> None:
    own = pod(hostname="rank-0", subdomain="job", hostAliases=[{"ip": "127.0.0.9", "hostnames": ["a", "b"]}])
    lines = own_lines(own, "127.64.0.1").splitlines()
    names = "rank-0.job.team.svc.cluster.local rank-0.job.team.svc rank-0.job.team rank-0.job rank-0"
    assert f"127.64.0.1 {names}" in lines
    assert "127.0.0.9 a b" in lines
    assert "127.64.0.1 p" in own_lines(pod(), "127.64.0.1").splitlines()


def test_only_pods_with_a_name_and_an_address_here_are_listed() -> None:
    peers = [
        peer("b", "job", "127.65.0.1"),
        peer("a", "job", "127.64.0.2"),
        peer("simulated", "job", "10.128.0.4"),
        peer("nameless", "", "127.64.0.3"),
        peer("new", "job", ""),
        peer("over", "job", "127.64.0.4", phase="Succeeded"),
    ]
    lines = peer_lines(peers).splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["127.64.0.2", "a.job.team.svc.cluster.local"],
        ["127.65.0.1", "b.job.team.svc.cluster.local"],
    ]
    assert all(line.endswith(" job") for line in lines)
    assert peer_lines(reversed(peers)) == peer_lines(peers)
    assert hosts_file("own\n", "x\n") == "own\nx\n"


def test_every_node_has_addresses_of_its_own() -> None:
    first, second = Addresses("process-node-0", ["127.64.0.1"]), Addresses("process-node-1")
    assert first.take() == "127.64.0.2"
    assert second.take() == "127.65.0.1"
    given = [first.take() for _ in range(300)]
    assert len(set(given)) == 300
    assert not any(address.endswith((".0", ".255")) for address in given)


def files(volume: dict[str, Any], **data: Any) -> dict[str, File]:
    own = pod(volumes=[{"name": "v", **volume}], metadata={"labels": {"a": "b"}})
    found = volume_files(own, own.spec.volumes[0], sources(**data), {("v", "token"): b"t"})
    assert found is not None
    return found


def test_keys_become_files_with_their_modes() -> None:
    volume = {"configMap": {"name": "c", "defaultMode": 0o600, "items": [{"key": "k", "path": "d/f", "mode": 0o640}]}}
    assert files(volume, config_maps={"c": {"k": b"1", "other": b"2"}}) == {"d/f": File(b"1", 0o640)}
    assert files({"secret": {"secretName": "s"}}, secrets={"s": {"k": b"x"}}) == {"k": File(b"x", 0o644)}


def test_a_projected_volume_joins_its_sources() -> None:
    volume = {
        "projected": {
            "defaultMode": 0o400,
            "sources": [
                {"serviceAccountToken": {"path": "token"}},
                {"configMap": {"name": "c"}},
                {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            ],
        }
    }
    found = files(volume, config_maps={"c": {"ca.crt": b"pem"}})
    assert {name: file.data for name, file in found.items()} == {
        "token": b"t",
        "ca.crt": b"pem",
        "labels": b'a="b"\n',
    }
    assert {file.mode for file in found.values()} == {0o400}


def test_missing_and_malicious_volumes_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="not found"):
        files({"secret": {"secretName": "s"}}, secrets={"s": None})
    assert files({"secret": {"secretName": "s", "optional": True}}, secrets={"s": None}) == {}
    with pytest.raises(ConfigurationError, match="leads out"):
        files({"configMap": {"name": "c", "items": [{"key": "k", "path": "../x"}]}}, config_maps={"c": {"k": b""}})


def test_a_volume_holds_exactly_its_files(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": File(b"1", 0o600), "d/b": File(b"2", 0o644)})
    write_files(tmp_path, {"d/b": File(b"3", 0o644)})
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "d/b").read_bytes() == b"3"
    assert (tmp_path / "d/b").stat().st_mode & 0o777 == 0o644


def test_output_is_cut_into_lines_and_parts(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log", 1 << 20)
    stream = Stream("stdout", log)
    stream.feed(b"one\ntw")
    stream.feed(b"o\n" + b"x" * 20_000 + b"\nend")
    stream.close()
    entries = [parse(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    assert [(entry.is_whole, len(entry.text)) for entry in entries if entry] == [
        (True, 3),
        (True, 3),
        (True, 20_000),
        (False, 3),
    ]


def test_a_log_that_grows_is_set_aside(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log", 100)
    for number in range(5):
        log.write(b"%d" % number * 60)
    assert (tmp_path / "log.1").stat().st_size >= 100
    assert (tmp_path / "log").stat().st_size < 100


def entry(text: str, second: int = 0, *, whole: bool = True) -> Entry:
    return Entry(f"2026-01-01T00:00:{second:02}.000000000Z", whole, text.encode())


def test_the_tail_counts_lines_not_parts() -> None:
    entries = [entry("a"), entry("b1", whole=False), entry("b2"), entry("c")]
    assert select_entries(entries, LogQuery(tail=2)) == entries[1:]
    assert select_entries(entries, LogQuery(tail=9)) == entries
    assert select_entries(entries, LogQuery(tail=0)) == []


def test_old_lines_are_left_out() -> None:
    since = datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC)
    assert select_entries([entry("old", 4), entry("new", 5)], LogQuery(since=since)) == [entry("new", 5)]


def test_a_query_is_read_or_refused() -> None:
    now = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    query = LogQuery.read({"follow": "true", "tailLines": "3", "sinceSeconds": "60"}, now)
    assert query == LogQuery(follow=True, tail=3, since=datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(LogQueryError):
        LogQuery.read({"tailLines": "many"}, now)


async def test_following_goes_on_over_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"2026-01-01T00:00:00.000000000Z stdout F one\n")
    steps = [b"two", b"three"]

    def is_over() -> bool:
        if not steps:
            return True
        if path.exists():
            path.replace(tmp_path / "log.1")
        path.write_bytes(b"2026-01-01T00:00:01.000000000Z stdout F %s\n" % steps.pop(0))
        return False

    read = [chunk async for chunk in read_log(path, LogQuery(follow=True), is_over)]
    assert read == [b"one\n", b"two\n", b"three\n"]


@pytest.mark.parametrize("line", [b"", b"half", b"2026 stdout X text"])
def test_a_line_that_was_cut_off_is_left_out(line: bytes) -> None:
    assert parse(line) is None
