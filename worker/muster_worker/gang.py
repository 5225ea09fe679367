"""The members of a job find each other and exchange numbers; every wait for a peer is bounded."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import torch
from torch import distributed

from muster_worker.errors import JoinFailedError, PeerLostError, RefusedError
from muster_worker.options import Backend, TrainingOptions
from muster_worker.place import Place

_RESOLVE_SECONDS = 0.5
_NO_GPU = "none"


class Gang:
    """A member's connection to its peers."""

    def __init__(self, place: Place, backend: Backend, device: torch.device) -> None:
        self.place = place
        self.backend = backend
        self.device = device

    def sums(self, values: Sequence[float], doing: str) -> list[float]:
        """Adds up each value over all members, in double precision and the same order every time."""
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        with peers_needed(doing):
            distributed.all_reduce(tensor)
            return [float(value) for value in tensor.tolist()]

    def from_first(self, value: Any, doing: str) -> Any:
        """What rank 0 passed in, on every member."""
        box = [value]
        with peers_needed(doing):
            distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def meet(self, doing: str) -> None:
        """Returns when all members are here."""
        self.sums([1.0], doing)

    def leave(self) -> None:
        """In order: nobody's connection is cut while it is still needed."""
        self.meet("leaving")
        distributed.destroy_process_group()


@contextmanager
def peers_needed(doing: str) -> Iterator[None]:
    """Names the loss of a peer for what it is; torch knows only RuntimeError for it."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise PeerLostError(f"a peer was lost while {doing}: {_first_line(error)}") from error


def join_gang(place: Place, options: TrainingOptions) -> Gang:
    """Waits for all members, at most as long as the options say."""
    if options.backend is Backend.NCCL and not torch.cuda.is_available():
        raise RefusedError("backend: nccl needs a GPU, and torch sees none here; accepted are gloo and auto")
    try:
        store = _store(place, timedelta(seconds=options.join_timeout_seconds))
        backend, device = _choose(place, options.backend, store)
        distributed.init_process_group(
            backend=str(backend),
            store=store,
            rank=place.rank,
            world_size=place.world_size,
            timeout=timedelta(seconds=options.peer_timeout_seconds),
        )
    except RuntimeError as error:
        raise JoinFailedError(
            f"the {place.world_size} members did not find each other at {place.master_address}:{place.master_port} "
            f"within {options.join_timeout_seconds:g} s: {_first_line(error)}"
        ) from error
    return Gang(place, backend, device)


def _store(place: Place, timeout: timedelta) -> Any:
    """The meeting point, kept by rank 0."""
    if place.world_size == 1:
        _stay_on_loopback()
        return distributed.HashStore()
    address = _resolve(place, time.monotonic() + timeout.total_seconds())
    if ip_address(address).is_loopback:
        _stay_on_loopback()
    listening = _listen(address, place.master_port) if place.is_first else None
    return distributed.TCPStore(
        address,
        place.master_port,
        place.world_size,
        place.is_first,
        timeout,
        master_listen_fd=None if listening is None else listening.detach(),
    )


def _resolve(place: Place, deadline: float) -> str:
    """A headless service's name appears only some time after its pods."""
    while True:
        try:
            return str(socket.getaddrinfo(place.master_address, None, type=socket.SOCK_STREAM)[0][4][0])
        except OSError as error:
            if time.monotonic() > deadline:
                raise JoinFailedError(f"MASTER_ADDR {place.master_address!r} does not resolve: {error}") from error
            time.sleep(_RESOLVE_SECONDS)


def _listen(address: str, port: int) -> socket.socket | None:
    """On the gang's own address alone, so that gangs with addresses of their own can share a port and a machine.

    None if the address is somebody else's, a forwarding service for example: then torch listens everywhere.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address, port))
        listening.listen(socket.SOMAXCONN)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRNOTAVAIL:
            return None
        raise JoinFailedError(f"rank 0 cannot listen on {address} port {port}: {error}") from error
    return listening


def _stay_on_loopback() -> None:
    """A gang that meets on loopback exchanges its gradients there too, whatever the machine is called."""
    names = [name for _, name in socket.if_nameindex() if name.rstrip("0123456789") == "lo"]
    for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        if names:
            os.environ.setdefault(variable, names[0])


def _choose(place: Place, wanted: Backend, store: Any) -> tuple[Backend, torch.device]:
    """NCCL refuses two ranks on one GPU, so all members compare what they have before they choose."""
    backend = wanted
    if wanted is Backend.AUTO:
        store.set(f"gpu/{place.rank}", _gpu(place))
        found = [store.get(f"gpu/{rank}").decode() for rank in range(place.world_size)]
        own_for_each = _NO_GPU not in found and len(set(found)) == place.world_size
        backend = Backend.NCCL if own_for_each else Backend.GLOO
    if backend is Backend.GLOO:
        return backend, torch.device("cpu")
    # cuBLAS and NCCL read these when they start: the first for the same sums each time, the second for an error where
    # the watchdog would otherwise abort the process.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")
    device = torch.device("cuda", place.local_rank)
    torch.cuda.set_device(device)
    return backend, device


def _gpu(place: Place) -> str:
    if not torch.cuda.is_available() or place.local_rank >= torch.cuda.device_count():
        return _NO_GPU
    return str(torch.cuda.get_device_properties(place.local_rank).uuid)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
