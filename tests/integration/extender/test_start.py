"""The process before it knows anything: it answers that it does not, and ends politely."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

pytestmark = pytest.mark.timeout(120)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.fixture
def lonely(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The extender with an API server that nobody runs."""
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{free_port()}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path = tmp_path / "kubeconfig.yaml"
    path.write_text(yaml.safe_dump(config))
    port = free_port()
    environment = os.environ | {"KUBECONFIG": str(path), "MUSTER_LISTEN_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-m", "muster_extender"], env=environment, stderr=subprocess.DEVNULL)
    yield process, f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


def asked(url: str, method: str = "GET", body: bytes | None = None) -> urllib3.BaseHTTPResponse | None:
    try:
        return urllib3.request(method, url, body=body, timeout=2, retries=False)
    except urllib3.exceptions.HTTPError:
        return None


def test_it_decides_nothing_before_its_caches_are_complete(
    lonely: tuple[subprocess.Popen[bytes], str], wait_until: Any
) -> None:
    process, url = lonely
    wait_until(lambda: asked(f"{url}/healthz") is not None, 60, "the port")
    for verb in ("filter", "prioritize", "preempt", "bind"):
        answer = asked(f"{url}/{verb}", "POST", b"{}")
        assert answer is not None
        assert answer.status == 503
        assert b"pods: not synced yet" in answer.data
    ready = asked(f"{url}/readyz")
    assert ready is not None
    assert ready.status == 503
    assert b"release key: not synced yet" in ready.data
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("variable", "value"), [("MUSTER_LISTEN_PORT", "many"), ("MUSTER_STRATEGY", "best"), ("MUSTER_LOG_LEVEL", "loud")]
)
def test_a_wrong_setting_is_named(variable: str, value: str) -> None:
    environment = os.environ | {variable: value}
    done = subprocess.run([sys.executable, "-m", "muster_extender"], env=environment, capture_output=True, check=False)
    assert done.returncode == 2
    assert variable in done.stderr.decode()
