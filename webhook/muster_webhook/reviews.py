"""AdmissionReview as it comes and goes over the wire, decoded no further than needed."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Final

import msgspec

from muster_webhook.patches import Operation

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"
_LONGEST_UID: Final = 256
_NOTHING: Final = msgspec.Raw(b"null")


class ReviewError(Exception):
    """The request itself is wrong: an HTTP status, and a sentence that says what would be accepted."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class GroupVersionKind(msgspec.Struct, frozen=True):
    group: str = ""
    version: str = ""
    kind: str = ""


class UserInfo(msgspec.Struct, frozen=True):
    username: str = ""


class AdmissionRequest(msgspec.Struct, frozen=True, rename="camel"):
    """What the API server asks; objects stay undecoded until somebody knows their kind."""

    uid: str
    kind: GroupVersionKind = GroupVersionKind()
    operation: str = ""
    sub_resource: str = ""
    user_info: UserInfo = UserInfo()
    object: msgspec.Raw = _NOTHING
    old_object: msgspec.Raw = _NOTHING


class _Review(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str = ""
    kind: str = ""
    request: AdmissionRequest | None = None


class _Status(msgspec.Struct, frozen=True):
    message: str
    reason: str
    code: int


class _Response(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    uid: str
    allowed: bool
    status: _Status | None = None
    patch_type: str = ""
    patch: str = ""
    warnings: Sequence[str] = ()


class _Answer(msgspec.Struct, frozen=True, rename="camel"):
    response: _Response
    api_version: str = API_VERSION
    kind: str = KIND


_decode: Final = msgspec.json.Decoder(_Review).decode
_encode: Final = msgspec.json.Encoder().encode


def decode_request(body: bytes) -> AdmissionRequest:
    """The request of a review; raises ReviewError for whatever is not one."""
    try:
        review = _decode(body)
    except (ValueError, RecursionError) as error:
        raise ReviewError(400, f"not an {KIND}: {error}") from None
    if review.api_version != API_VERSION or review.kind != KIND:
        sent = f"{review.api_version[:60]!r} {review.kind[:60]!r}"
        raise ReviewError(400, f"{sent} is not understood; send apiVersion {API_VERSION!r}, kind {KIND!r}")
    if review.request is None or not 0 < len(review.request.uid) <= _LONGEST_UID:
        raise ReviewError(400, f"request.uid: required, at most {_LONGEST_UID} characters")
    return review.request


def is_absent(raw: msgspec.Raw) -> bool:
    """Whether there is no object, as in the review of a deletion."""
    return bytes(raw).strip() == b"null"


def allow(uid: str, patch: Sequence[Operation] = (), warnings: Sequence[str] = ()) -> bytes:
    """Lets it pass, with these changes and warnings."""
    if not patch:
        return _encode(_Answer(_Response(uid, True, warnings=warnings)))
    encoded = b64encode(_encode(patch)).decode()
    return _encode(_Answer(_Response(uid, True, patch_type="JSONPatch", patch=encoded, warnings=warnings)))


def deny(uid: str, message: str, *, code: int = 422, reason: str = "Invalid") -> bytes:
    """Refuses it, with a message that the user reads."""
    return _encode(_Answer(_Response(uid, False, status=_Status(message, reason, code))))
