"""Which operation a request is for. There is one matcher, so that nobody is asked about another one than is run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from muster_queue.rest.operations import Operation

_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_NO_METHODS: Final[Mapping[str, Operation]] = {}
_NO_PARAMETERS: Final[Mapping[str, str]] = {}


class Match(msgspec.Struct, frozen=True):
    """The operations of a path by method, and what the path names."""

    methods: Mapping[str, Operation]
    parameters: Mapping[str, str] = _NO_PARAMETERS


class RouteTable:
    """Finds operations by path; one slash at the end is there or not."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._exact: dict[str, dict[str, Operation]] = {}
        self._patterns: dict[str, tuple[re.Pattern[str], dict[str, Operation]]] = {}
        for operation in operations:
            path = _trimmed(operation.path)
            if _PARAMETER.search(path):
                pattern = re.compile(_PARAMETER.sub(r"(?P<\1>[^/]+)", path))
                self._add(self._patterns.setdefault(path, (pattern, {}))[1], operation)
            else:
                self._add(self._exact.setdefault(path, {}), operation)

    def match(self, path: str) -> Match:
        """Without methods where nothing is there."""
        path = _trimmed(path)
        exact = self._exact.get(path)
        if exact is not None:
            return Match(exact)
        for pattern, methods in self._patterns.values():
            found = pattern.fullmatch(path)
            if found is not None:
                return Match(methods, found.groupdict())
        return Match(_NO_METHODS)

    @staticmethod
    def _add(methods: dict[str, Operation], operation: Operation) -> None:
        methods[operation.method] = operation
        if operation.method == "GET":
            methods["HEAD"] = operation


def _trimmed(path: str) -> str:
    return path[:-1] if len(path) > 1 and path.endswith("/") else path
