"""Whole answers to kube-scheduler, where more than one decision takes part in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from bones.clock import ManualClock
from bones.extender_world import make_pod, make_state
from bones.scripted_api_server import scripted
from muster_api.objects import Pod
from muster_extender.barrier import BarrierRules
from muster_extender.binding import Binder, BindRate
from muster_extender.committing import GangCommitter
from muster_extender.filtering import NO_ROOM
from muster_extender.freshness import Freshness
from muster_extender.fuse import Fuse, FuseRules
from muster_extender.held_calls import HeldCalls
from muster_extender.metrics import Metrics
from muster_extender.scoring import Strategy
from muster_extender.state import ClusterState
from muster_extender.verbs import OFTEN_REJECTED, Verbs
from muster_kube.clock import Clock
from muster_kube.session import ApiSession
from muster_kube.writer import Writer


def make_verbs(state: ClusterState, clock: Clock, writer: Writer, fuse: Fuse) -> Verbs:
    metrics, rate = Metrics(), BindRate(4)
    freshness = Freshness({}, 90.0, clock, is_behind=lambda: False)
    freshness.is_built = True
    held = HeldCalls(
        state,
        GangCommitter(writer, clock),
        BarrierRules(),
        clock,
        metrics,
        bind_rate=rate,
        is_fresh=lambda: True,
    )
    binder = Binder(writer, state, rate, metrics, 4)
    return Verbs(state, freshness, fuse, held, binder, clock, metrics, Strategy.BINPACK)


def filtered(verbs: Verbs, pod: Pod, clock: Clock) -> dict[str, Any]:
    body = msgspec.json.encode({"Pod": pod, "NodeNames": ["n0", "n1"]})
    answer: dict[str, Any] = msgspec.json.decode(verbs.filter(body, clock.monotonic()))
    return answer


async def test_an_unmanaged_pod_that_finds_no_room_too_often_gets_errors(tmp_path: Path) -> None:
    state, clock = make_state(nodes=2, gpus=2), ManualClock()
    async with scripted() as server, await ApiSession.connect(server.write_kubeconfig(tmp_path)) as session:
        verbs = make_verbs(state, clock, Writer(session), Fuse(FuseRules(most_rejections=2)))
        small, large = (make_pod(name, gpus=gpus, namespace="free") for name, gpus in (("s", 2), ("l", 3)))
        answers = [filtered(verbs, large, clock) for _ in range(3)]
        assert [answer["Error"] for answer in answers] == ["", "", OFTEN_REJECTED + NO_ROOM]
        assert answers[0]["FailedAndUnresolvableNodes"] == dict.fromkeys(["n0", "n1"], NO_ROOM)
        assert filtered(verbs, small, clock)["NodeNames"] == ["n0", "n1"]
