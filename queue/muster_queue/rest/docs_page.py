"""The api's description as one page of HTML that loads nothing from anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any, Final

CONTENT_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: 14px/1.4 ui-monospace, monospace; } pre { overflow: auto; background: #8881; padding: .5rem; }
summary { cursor: pointer; padding: .3rem 0; } b.method { display: inline-block; width: 5rem; }
td, th { text-align: left; vertical-align: top; padding: .1rem 1rem .1rem 0; }
:root { color-scheme: light dark; }
"""


def page(document: dict[str, Any]) -> bytes:
    """Every operation, its parameters and answers, and the schemas."""
    return "".join(_parts(document)).encode()


def _parts(document: dict[str, Any]) -> Iterator[str]:
    info = document["info"]
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])}</title>"
    yield f"<style>{_STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
    yield f"<p>{escape(info['description'])} The same for programs: <a href=/openapi.json>openapi.json</a>.</p>"
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield from _operation(path, method, operation)
    yield "<h2>Schemas</h2>"
    for name, schema in document["components"]["schemas"].items():
        yield f"<details><summary><code>{escape(name)}</code></summary>{_pre(schema)}</details>"


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"<details><summary><b class=method>{method.upper()}</b> <code>{escape(path)}</code> "
    yield f"{escape(operation['summary'])}</summary><p>{escape(operation.get('description', 'Needs no token.'))}</p>"
    if operation["parameters"]:
        yield "<table><tr><th>Parameter<th>In<th>Schema</tr>"
        for each in operation["parameters"]:
            schema = escape(json.dumps(each["schema"]))
            yield f"<tr><td><code>{escape(each['name'])}</code><td>{each['in']}<td><code>{schema}</code></tr>"
        yield "</table>"
    if "requestBody" in operation:
        yield f"<h4>Body</h4>{_pre(operation['requestBody']['content'])}"
    yield "<h4>Answers</h4><table>"
    for status, answer in operation["responses"].items():
        yield f"<tr><td>{status}<td>{escape(answer['description'])}</tr>"
    yield "</table></details>"


def _pre(value: Any) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2))}</pre>"
