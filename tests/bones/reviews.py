"""AdmissionReviews as the API server sends them, and what its answer does to the object."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

Json = Any


def make_review(
    subject: Json,
    *,
    operation: str = "CREATE",
    old: Json = None,
    uid: str = "705ab4f5-6393-11e8-b7cc-42010a800002",
    user: str = "alice",
    sub_resource: str = "",
    **request: Any,
) -> dict[str, Any]:
    """A review of this object; `request` overrides or adds fields of the request itself."""
    said = subject if isinstance(subject, dict) else {}
    group, _, version = str(said.get("apiVersion", "v1")).rpartition("/")
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": uid,
            "kind": {"group": group, "version": version, "kind": said.get("kind", "Pod")},
            "operation": operation,
            "subResource": sub_resource,
            "userInfo": {"username": user, "groups": ["system:authenticated"]},
            "object": subject,
            "oldObject": old,
            "dryRun": False,
            **request,
        },
    }


def patch_of(answer: bytes) -> list[dict[str, Any]]:
    """The patch in an answer; empty when there is none."""
    encoded = json.loads(answer)["response"].get("patch")
    patch: list[dict[str, Any]] = json.loads(base64.b64decode(encoded)) if encoded else []
    return patch


def patched(subject: Json, operations: list[dict[str, Any]]) -> Json:
    """The object after `add` operations (RFC 6902), strict about parents that do not exist."""
    result = copy.deepcopy(subject)
    for operation in operations:
        assert operation["op"] == "add", operation
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        target = result
        for part in parents:
            target = target[int(part)] if isinstance(target, list) else target[part]
        if isinstance(target, list):
            target.insert(len(target) if last == "-" else int(last), operation["value"])
        else:
            target[last] = operation["value"]
    return result
