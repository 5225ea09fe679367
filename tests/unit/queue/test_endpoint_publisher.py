"""Publishing: one write for a gang that is whole, patience with one that is not, and no end of no write at all."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from bones.clock import ManualClock
from bones.gang_views import EPOCH, make_gang, make_plan
from bones.job_views import GANG_OF_JOB, make_job
from bones.slice_store import SliceStore
from muster_api.gangs import Gang
from muster_api.names import GANG_LABEL, GPU_RESOURCE, JOB_LABEL, RELEASE_ANNOTATION
from muster_api.objects import ObjectMeta, OwnerReference, Pod, Service, ServiceSpec
from muster_api.phases import GangPhase
from muster_api.tickets import Ticket, parse_epoch, sign
from muster_kube.errors import AmbiguousWrite, Conflict, Invalid, NotFound, Unavailable
from muster_kube.events import EventRecorder
from muster_queue.controller.endpoint_publisher import PATIENCE, EndpointPublisher
from muster_queue.controller.metrics import Metrics
from muster_queue.controller.published import Published
from muster_queue.controller.reporting import Reporter
from muster_queue.controller.slice_writer import SliceWriter
from muster_queue.controller.world import World
from muster_queue.jobs.endpoints import MemberAddress, slice_body, slices_of

SIZE = 3
SLICE = "train-ipv4-0"
KEY = ("team", "aijob-train")
JOB = make_job()
OWNER = OwnerReference(kind="AIJob", name="train", uid="job-uid", controller=True)


def gang(epoch: str = EPOCH, version: int = 1) -> Gang:
    made = make_gang(GangPhase.RUNNING, plan=make_plan(SIZE), epoch=epoch)
    metadata = msgspec.structs.replace(made.metadata, name=KEY[1], resource_version=str(version))
    spec = msgspec.structs.replace(made.spec, id=GANG_OF_JOB)
    return msgspec.structs.replace(made, metadata=metadata, spec=spec)


def service(selector: dict[str, str] | None = None, version: str = "1") -> Service:
    metadata = ObjectMeta(
        name="train", namespace="team", uid="service-uid", resource_version=version, owner_references=(OWNER,)
    )
    return Service(metadata=metadata, spec=ServiceSpec(selector=selector or {}))


def address(slot: int, attempt: int = 1) -> str:
    return f"10.0.{attempt}.{slot}"


def body_of(*slots: int) -> dict[str, Any]:
    """As it is right for these members of the first attempt."""
    members = [MemberAddress(slot, f"train-1-{slot}", f"u-train-1-{slot}", "n1", address(slot)) for slot in slots]
    return slice_body(JOB, slices_of(JOB, members)[SLICE])


class Scene:
    """A leader's publisher, with a world that tests tell what the watches would."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = SliceStore()
        self.world = World((GPU_RESOURCE,))
        self.published = Published()
        self.leads = True
        self.recorder = EventRecorder(self.store, "tests", clock=self.clock)
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.publisher = EndpointPublisher(
            self.world,
            self.published,
            SliceWriter(self.store, self.published),
            lambda: self.leads,
            Reporter(self.recorder),
            self.metrics,
            self.clock,
        )
        self._version = 10
        self.world.see_job(JOB)
        self.world.see_gang(gang())
        self.published.see_service(service())
        self.publisher.listen()

    def pod(self, slot: int, attempt: int = 1, epoch: str = EPOCH, *, ip: str | None = None, phase: str = "") -> Pod:
        self._version += 1
        name = f"train-{attempt}-{slot}"
        ticket = Ticket(GANG_OF_JOB, parse_epoch(epoch), slot, "n1")
        manifest = {
            "metadata": {
                "name": name,
                "namespace": "team",
                "uid": f"u-{name}",
                "resourceVersion": str(self._version),
                "labels": {GANG_LABEL: KEY[1], JOB_LABEL: "train"},
                "annotations": {RELEASE_ANNOTATION: sign(b"key", "team", ticket)},
            },
            "spec": {"nodeName": "n1", "containers": [{"name": "main"}]},
            "status": {"phase": phase or "Running", "podIP": address(slot, attempt) if ip is None else ip},
        }
        return msgspec.convert(manifest, Pod)

    def see(self, *slots: int, **changes: Any) -> None:
        for slot in slots:
            self.world.see_pod(self.pod(slot, **changes))

    def lose(self, *slots: int) -> None:
        for slot in slots:
            self.world.lose_pod(self.pod(slot))

    async def pass_time(self, seconds: float) -> list[str]:
        """What is asked of the API server meanwhile."""
        before, steps = len(self.store.asked), max(1, round(seconds / 0.05))
        for _ in range(steps):
            for errand in self.publisher.take_errands():
                await self.publisher.carry_out(errand)
            self.clock.advance(seconds / steps)
        return self.store.asked[before:]


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_whole_gang_is_one_write_at_once(scene: Scene) -> None:
    scene.see(0, 1)
    assert await scene.pass_time(0.2) == []
    scene.see(2)
    assert await scene.pass_time(0.1) == ["create"]
    assert scene.store.addresses() == [address(slot) for slot in range(SIZE)]
    assert await scene.pass_time(30) == []


async def test_what_is_not_whole_is_written_once_a_second_at_most(scene: Scene) -> None:
    scene.see(0)
    assert await scene.pass_time(PATIENCE - 0.1) == []
    assert await scene.pass_time(0.3) == ["create"]
    for number in range(40):
        scene.see(1, ip=f"10.0.7.{number}")
        await scene.pass_time(0.1)
    assert 3 <= scene.store.asked.count("replace") <= 4


async def test_the_next_attempt_replaces_the_first_in_place(scene: Scene) -> None:
    scene.see(0, 1, 2)
    assert await scene.pass_time(2) == ["create"]
    scene.world.see_gang(gang("2-9", version=2))
    scene.see(0, 1, 2, attempt=2, epoch="2-9")
    assert await scene.pass_time(2) == ["replace"]
    assert scene.store.addresses() == [address(slot, 2) for slot in range(SIZE)]


async def test_members_that_end_or_go_take_the_slice_with_them(scene: Scene) -> None:
    scene.see(0, 1, 2)
    await scene.pass_time(2)
    scene.see(0, 1, phase="Succeeded")
    scene.lose(2)
    assert await scene.pass_time(2) == ["delete"]
    assert scene.store.slices == {}


async def test_loopback_addresses_are_never_written(scene: Scene) -> None:
    for slot in range(SIZE):
        scene.see(slot, ip=f"127.64.0.{slot + 1}")
    assert await scene.pass_time(30) == []


async def test_a_new_leader_writes_only_what_differs(scene: Scene) -> None:
    scene.see(0, 1, 2)
    scene.published.see_slice(scene.store.put(body_of(0, 1, 2)))
    assert await scene.pass_time(5) == []
    scene.published.see_slice(scene.store.put(body_of(0, 1)))
    assert await scene.pass_time(5) == ["replace"]


@pytest.mark.parametrize("selector", [{"app": "train"}, {JOB_LABEL: "train"}])
async def test_a_service_that_kubernetes_fills_is_left_to_it(scene: Scene, selector: dict[str, str]) -> None:
    scene.see(0, 1, 2)
    assert await scene.pass_time(1) == ["create"]
    scene.published.see_service(service(selector, "2"))
    assert await scene.pass_time(5) == ["delete"]
    scene.published.see_service(service(version="3"))
    assert await scene.pass_time(5) == ["create"]


async def test_a_service_of_somebody_else_or_none_gets_no_addresses(scene: Scene) -> None:
    scene.published.lose_service(service())
    scene.see(0, 1, 2)
    assert await scene.pass_time(5) == []
    foreign = service()
    scene.published.see_service(
        msgspec.structs.replace(foreign, metadata=msgspec.structs.replace(foreign.metadata, owner_references=()))
    )
    assert await scene.pass_time(5) == []


async def test_whoever_was_first_is_looked_at_and_put_right(scene: Scene) -> None:
    scene.store.put(body_of(0))
    scene.see(0, 1, 2)
    assert await scene.pass_time(5) == ["create", "get", "replace"]
    scene.store.put(body_of(1), scene.store.slices[SLICE].metadata.uid)
    scene.see(1, ip="10.9.9.9")
    assert await scene.pass_time(5) == ["replace", "get", "replace"]
    assert "10.9.9.9" in scene.store.addresses()


async def test_a_slice_that_went_unseen_is_created_anew(scene: Scene) -> None:
    scene.see(0, 1, 2)
    await scene.pass_time(1)
    scene.store.slices.clear()
    scene.see(1, ip="10.9.9.9")
    assert await scene.pass_time(5) == ["replace", "create"]
    scene.store.slices.clear()
    scene.lose(0, 1, 2)
    assert await scene.pass_time(5) == ["delete"]


async def test_a_slice_of_somebody_else_stays_and_is_told(scene: Scene) -> None:
    body = body_of(0)
    body["metadata"] |= {"labels": {}, "ownerReferences": []}
    scene.store.put(body)
    scene.see(0, 1, 2)
    assert set(await scene.pass_time(10)) == {"create", "get"}
    assert len(scene.store.asked) < 20
    assert scene.store.addresses() == [address(0)]
    scene.store.slices.clear()
    await scene.pass_time(40)
    assert len(scene.store.addresses()) == SIZE


async def test_what_is_refused_for_good_is_not_tried_again_until_something_else_is_wanted(scene: Scene) -> None:
    def refuse() -> None:
        raise Invalid(422, "Invalid", "no")

    scene.store.before_write = refuse
    scene.see(0, 1, 2)
    assert await scene.pass_time(600) == ["create"]
    assert scene.registry.get_sample_value("muster_object_errors_total") == 1
    scene.store.before_write = lambda: None
    scene.see(1, ip="10.9.9.9")
    assert await scene.pass_time(5) == ["create"]


@pytest.mark.parametrize("error", [Unavailable(503), AmbiguousWrite(504), NotFound(404), Conflict(409)])
async def test_an_api_server_that_is_away_is_asked_later_and_later(scene: Scene, error: Exception) -> None:
    def fail() -> None:
        raise error

    scene.store.before_write = fail
    scene.see(0, 1, 2)
    await scene.pass_time(120)
    assert 6 <= scene.store.asked.count("create") <= 15
    scene.store.before_write = lambda: None
    await scene.pass_time(40)
    assert len(scene.store.addresses()) == SIZE
    assert await scene.pass_time(60) == []


async def test_a_write_whose_outcome_was_unknown_is_found(scene: Scene) -> None:
    def happen_and_fail() -> None:
        scene.store.before_write = lambda: None
        scene.store.put(body_of(0, 1, 2))
        raise AmbiguousWrite(504)

    scene.store.before_write = happen_and_fail
    scene.see(0, 1, 2)
    assert await scene.pass_time(10) == ["create", "create", "get"]


async def test_who_does_not_lead_any_more_writes_nothing(scene: Scene) -> None:
    scene.leads = False
    scene.see(0, 1, 2)
    assert await scene.pass_time(5) == []
    scene.leads = True
    assert await scene.pass_time(5) == ["create"]


async def test_what_changes_during_a_write_is_written_after_it(scene: Scene) -> None:
    scene.see(0, 1, 2)
    (errand,) = scene.publisher.take_errands()
    scene.clock.advance(1)
    scene.see(2, ip="10.9.9.9")
    assert scene.publisher.take_errands() == []
    await scene.publisher.carry_out(errand)
    await scene.pass_time(3)
    assert scene.store.asked == ["create", "replace"]
    assert "10.9.9.9" in scene.store.addresses()


async def test_a_job_that_was_orphaned_keeps_what_its_pods_need(scene: Scene) -> None:
    scene.see(0, 1, 2)
    await scene.pass_time(1)
    scene.world.lose_job(JOB)
    assert await scene.pass_time(5) == []
    scene.lose(0, 1, 2)
    assert await scene.pass_time(5) == ["delete"]


async def test_slices_of_a_job_that_nobody_knows_go(scene: Scene) -> None:
    scene.world.lose_gang(gang())
    scene.world.lose_job(JOB)
    scene.published.see_slice(scene.store.put(body_of(0)))
    assert await scene.pass_time(5) == ["delete"]


async def test_plain_gangs_are_none_of_its_business(scene: Scene) -> None:
    scene.publisher.mark(("team", "pods-g"))
    await scene.pass_time(1)
    assert scene.store.asked == []


def test_an_older_state_of_a_slice_changes_nothing(scene: Scene) -> None:
    old = scene.store.put(body_of(0))
    new = scene.store.put(body_of(0, 1), old.metadata.uid)
    scene.published.see_slice(new)
    scene.published.see_slice(old)
    assert scene.published.slices(KEY)[SLICE] == new
    scene.published.lose_slice(scene.store.put(body_of(0)))
    assert scene.published.slices(KEY)[SLICE] == new


def test_a_slice_whose_owner_was_taken_away_is_still_found(scene: Scene) -> None:
    first = scene.store.put(body_of(0))
    scene.published.see_slice(first)
    body = body_of(0)
    body["metadata"]["ownerReferences"] = []
    scene.published.see_slice(scene.store.put(body, first.metadata.uid))
    assert list(scene.published.slices(KEY)) == [SLICE]
    body["metadata"]["labels"] = {}
    scene.published.see_slice(scene.store.put(body, first.metadata.uid))
    assert list(scene.published.slices(KEY)) == []
