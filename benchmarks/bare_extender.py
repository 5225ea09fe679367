"""An extender that decides nothing: HTTP in, one binding out, with the libraries and settings of the real one.

What it costs a pod is what any extender written this way has to pay on this machine, and the measure for the rest.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from muster_kube.serve import HttpServer, Receive, Send, respond
from muster_kube.session import ApiSession

REFUSED = b"{%b}" % b",".join(b'"node-of-a-usual-name-%d":"planned on another node"' % n for n in range(999))
CONNECTIONS = 32


class BareExtender:
    """Accepts the first candidate of each filter call, and binds what it is asked to bind at once."""

    def __init__(self, session: ApiSession) -> None:
        self._session = session
        self._slots = asyncio.Semaphore(CONNECTIONS)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        chunks = []
        while True:
            message = await receive()
            chunks.append(message.get("body", b""))
            if not message.get("more_body", False):
                break
        body = b"".join(chunks)
        answer = self._filter(body) if scope["path"] == "/filter" else await self._bind(body)
        await respond(send, 200, answer)

    def _filter(self, body: bytes) -> bytes:
        names = body.index(b'"NodeNames":["') + len(b'"NodeNames":[')
        first = body[names : body.index(b'"', names + 1) + 1]
        refused = REFUSED if body.startswith(b",", names + len(first)) else b"{}"
        return b'{"NodeNames":[%b],"FailedAndUnresolvableNodes":%b,"Error":""}' % (first, refused)

    async def _bind(self, body: bytes) -> bytes:
        call = msgspec.json.decode(body)
        metadata = {"name": call["PodName"], "namespace": call["PodNamespace"], "uid": call["PodUID"]}
        binding = {"kind": "Binding", "apiVersion": "v1", "metadata": metadata, "target": {"name": call["Node"]}}
        path = f"/api/v1/namespaces/{call['PodNamespace']}/pods/{call['PodName']}/binding"
        async with self._slots:
            await self._session.request("POST", path, body=msgspec.json.encode(binding))
        return b'{"Error":""}'


async def main(kubeconfig: str, port: int) -> None:
    async with await ApiSession.connect(Path(kubeconfig), connection_limit=CONNECTIONS, timeout=60) as session:
        await HttpServer(BareExtender(session), "127.0.0.1", port).run()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
