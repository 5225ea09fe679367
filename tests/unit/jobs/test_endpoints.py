"""Slices: every address once, in the slice of its family and ordinal, and no write without a difference."""

from __future__ import annotations

from ipaddress import ip_address

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bones.job_views import make_job
from muster_api.names import HEADLESS_LABEL, JOB_LABEL, SERVICE_NAME_LABEL, SLICE_MANAGER, SLICE_MANAGER_LABEL
from muster_api.objects import EndpointSlice
from muster_queue.jobs.endpoints import SLICE_ROOM, Deed, MemberAddress, changes, family_of, slice_body, slices_of
from muster_queue.jobs.templates import service_body

JOB = make_job()


def member(ordinal: int, address: str | None = None) -> MemberAddress:
    pod = f"train-1-{ordinal}"
    given_or_own = f"10.0.{ordinal // 250}.{ordinal % 250 + 1}" if address is None else address
    return MemberAddress(ordinal, pod, f"u-{pod}", "n1", given_or_own)


def written(slice_: EndpointSlice, version: str = "7") -> EndpointSlice:
    """As the API server gives it back."""
    body = slice_body(JOB, slice_, version) | {"ports": None}
    return msgspec.json.decode(msgspec.json.encode(body), type=EndpointSlice)


addresses = st.one_of(st.ip_addresses().map(str), st.text(max_size=8), st.sampled_from(["127.64.0.1", "fe80::1", ""]))
members = st.dictionaries(st.integers(0, 450), addresses).map(lambda each: [member(*one) for one in each.items()])


def test_a_slice_says_what_cluster_dns_asks_for() -> None:
    slices = slices_of(JOB, [member(1), member(0)])
    assert list(slices) == ["train-ipv4-0"]
    body = msgspec.json.decode(msgspec.json.encode(slice_body(JOB, slices["train-ipv4-0"])))
    assert body["metadata"]["labels"] == {
        SERVICE_NAME_LABEL: "train",
        SLICE_MANAGER_LABEL: SLICE_MANAGER,
        HEADLESS_LABEL: "",
        JOB_LABEL: "train",
    }
    assert [(one["kind"], one["uid"], one["controller"]) for one in body["metadata"]["ownerReferences"]] == [
        ("AIJob", "job-uid", True)
    ]
    assert (body["addressType"], body["ports"]) == ("IPv4", [])
    assert body["endpoints"][0] == {
        "addresses": ["10.0.0.1"],
        "conditions": {"ready": True},
        "hostname": "train-1-0",
        "nodeName": "n1",
        "targetRef": {"kind": "Pod", "namespace": "team", "name": "train-1-0", "uid": "u-train-1-0"},
    }


@given(members)
def test_every_address_that_may_be_there_is_there_once(some: list[MemberAddress]) -> None:
    slices = slices_of(JOB, some)
    found = [
        (slice_.address_type, endpoint.addresses, endpoint.hostname)
        for slice_ in slices.values()
        for endpoint in slice_.endpoints or ()
    ]
    wanted = [(family_of(one.address), (one.address,), one.pod) for one in some if family_of(one.address)]
    assert sorted(found) == sorted(wanted)
    assert all(0 < len(slice_.endpoints or ()) <= SLICE_ROOM for slice_ in slices.values())


@given(members)
def test_the_order_of_members_makes_no_difference(some: list[MemberAddress]) -> None:
    assert list(slices_of(JOB, reversed(some)).items()) == list(slices_of(JOB, some).items())


@given(members, members)
def test_changes_turn_one_state_into_the_other_and_then_there_are_none(
    before: list[MemberAddress], after: list[MemberAddress]
) -> None:
    actual = {name: written(slice_) for name, slice_ in slices_of(JOB, before).items()}
    desired = slices_of(JOB, after)
    for change in list(changes(desired, actual)):
        if change.deed is Deed.DELETE:
            del actual[change.slice.metadata.name]
        else:
            assert (change.deed is Deed.CREATE) == (change.slice.metadata.name not in actual)
            actual[change.slice.metadata.name] = written(change.slice)
    assert list(changes(desired, actual)) == []
    assert actual.keys() == desired.keys()


def test_one_member_of_a_large_gang_touches_one_slice() -> None:
    gang = [member(ordinal) for ordinal in range(450)]
    actual = {name: written(slice_) for name, slice_ in slices_of(JOB, gang).items()}
    assert list(actual) == [f"train-ipv4-{number}" for number in range(5)]
    gang[250] = member(250, "10.9.9.9")
    assert [(one.deed, one.slice.metadata.name) for one in changes(slices_of(JOB, gang), actual)] == [
        (Deed.REPLACE, "train-ipv4-2")
    ]


def test_labels_of_others_are_no_reason_to_write_and_a_lost_owner_is() -> None:
    desired = slices_of(JOB, [member(0)])
    right = written(desired["train-ipv4-0"])
    labels = right.metadata.labels | {"example.com/own": "x"}
    labelled = msgspec.structs.replace(right, metadata=msgspec.structs.replace(right.metadata, labels=labels))
    orphaned = msgspec.structs.replace(right, metadata=msgspec.structs.replace(right.metadata, owner_references=()))
    assert list(changes(desired, {"train-ipv4-0": labelled})) == []
    assert [one.deed for one in changes(desired, {"train-ipv4-0": orphaned})] == [Deed.REPLACE]


def test_a_slice_of_another_family_makes_way() -> None:
    desired = slices_of(JOB, [member(0)])
    other = msgspec.structs.replace(written(desired["train-ipv4-0"]), address_type="FQDN")
    assert [one.deed for one in changes(desired, {"train-ipv4-0": other})] == [Deed.DELETE]


@pytest.mark.parametrize(
    ("address", "family"),
    [
        ("10.1.2.3", "IPv4"),
        ("fd00::1", "IPv6"),
        ("2001:db8::7", "IPv6"),
        ("127.0.0.1", ""),
        ("127.64.0.1", ""),
        ("::1", ""),
        ("169.254.169.254", ""),
        ("fe80::1", ""),
        ("fd00::1%eth0", ""),
        ("::ffff:10.1.2.3", ""),
        ("224.0.0.1", ""),
        ("ff02::1", ""),
        ("0.0.0.0", ""),
        ("", ""),
        ("host", ""),
        ("10.1.2", ""),
    ],
)
def test_addresses_that_kubernetes_refuses_have_no_family(address: str, family: str) -> None:
    assert family_of(address) == family


@given(st.ip_addresses())
def test_a_family_is_that_of_the_address(address: object) -> None:
    assert family_of(str(address)) in ("", f"IPv{ip_address(str(address)).version}")


def test_the_service_leaves_its_addresses_to_us() -> None:
    assert service_body(JOB)["spec"] == {"clusterIP": "None", "publishNotReadyAddresses": True}
