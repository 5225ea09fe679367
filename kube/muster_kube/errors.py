"""What can go wrong while talking to the API server, in the words of its answers.

KubeError
  CredentialsError         no usable kubeconfig and not inside a cluster
  ApiError
    Unauthorized           401, after the credentials were read anew
    Forbidden              403
    NotFound               404
    Conflict               409: another writer was first
      AlreadyExists        409: create met an object of that name
    Gone                   410: the resourceVersion or continue token is too old
    Invalid                400, 413, 415, 422: the request itself is wrong
    TooManyRequests        429: wait retry_after seconds
    Unavailable            no answer, or a 5xx; a write that ends so did certainly not happen
      AmbiguousWrite       a write that may or may not have happened: read before doing anything
"""

from __future__ import annotations

from typing import Final

import msgspec


class KubeError(Exception):
    """Root of everything that this package raises on purpose."""


class CredentialsError(KubeError):
    """There is no usable way to the API server: neither a kubeconfig nor a service account."""


class ApiError(KubeError):
    """An answer of the API server other than success."""

    def __init__(self, status: int, reason: str = "", message: str = "") -> None:
        super().__init__(f"{status} {reason}: {message}" if reason else f"{status}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class Unauthorized(ApiError):
    """The API server does not know who we are."""


class Forbidden(ApiError):
    """We are known and not allowed."""


class NotFound(ApiError):
    """There is no such object, or no such resource."""


class Conflict(ApiError):
    """Another writer was first; read again and decide anew."""


class AlreadyExists(Conflict):
    """An object of this name is already there."""


class Gone(ApiError):
    """The history that was asked for has been compacted away."""


class Invalid(ApiError):
    """The request is wrong and will stay wrong."""


class TooManyRequests(ApiError):
    """The API server, or a disruption budget, asks to wait."""

    def __init__(self, reason: str = "", message: str = "", retry_after: float = 1.0) -> None:
        super().__init__(429, reason, message)
        self.retry_after = retry_after


class Unavailable(ApiError):
    """No answer came, or the server could not give one."""


class AmbiguousWrite(Unavailable):
    """The outcome of a write is unknown: it may have been applied, now or in a moment."""


class StatusCause(msgspec.Struct, frozen=True, kw_only=True):
    field: str = ""


class StatusDetails(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    causes: tuple[StatusCause, ...] = ()
    retry_after_seconds: int = 0


class StatusAnswer(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """The meta/v1 Status that the API server sends in place of an object."""

    status: str = ""
    reason: str = ""
    message: str = ""
    code: int = 0
    details: StatusDetails | None = None


_STATUS: Final = msgspec.json.Decoder(StatusAnswer)
_LONGEST_MESSAGE: Final = 500

_BY_STATUS: Final[dict[int, type[ApiError]]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: Invalid,
    415: Invalid,
    422: Invalid,
}


def decode_status(body: bytes | msgspec.Raw) -> StatusAnswer:
    """Reads a Status; anything else becomes one whose message is the text itself."""
    try:
        return _STATUS.decode(body)
    except msgspec.DecodeError:
        return StatusAnswer(message=bytes(body)[:_LONGEST_MESSAGE].decode("utf-8", "replace"))


def error_from_answer(status: int, body: bytes, *, is_write: bool, retry_after: str | None = None) -> ApiError:
    """The error for an answer that is not a success.

    A 5xx on a write is ambiguous: the API server also says so when etcd did not answer it in time.
    """
    answer = decode_status(body)
    if status == 429:
        return TooManyRequests(answer.reason, answer.message, _retry_seconds(answer, retry_after))
    if status == 422 and _is_about_another_object(answer):
        kind: type[ApiError] = Conflict
    elif status >= 500:
        kind = AmbiguousWrite if is_write else Unavailable
    elif status == 409 and answer.reason == "AlreadyExists":
        kind = AlreadyExists
    else:
        kind = _BY_STATUS.get(status, ApiError)
    return kind(status, answer.reason, answer.message)


def _is_about_another_object(answer: StatusAnswer) -> bool:
    """A patch whose `metadata.uid` is not the object's is called invalid, though it is a precondition that failed."""
    return answer.details is not None and any(cause.field == "metadata.uid" for cause in answer.details.causes)


def _retry_seconds(answer: StatusAnswer, header: str | None) -> float:
    if header is not None and header.isdigit():
        return float(header)
    return float(answer.details.retry_after_seconds or 1) if answer.details else 1.0
