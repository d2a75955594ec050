"""What does the daemon say about itself? An OpenAPI document (3.1), whose schemas come from the structs of the answers."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any, Final

import msgspec

from governor.daemon.documents import GroupReport, Health, Problem, ScopeReport, Status
from governor.daemon.problems import PROBLEM
from governor.instrumentation import BreakerChanged, CallDenied, ClientDenied, DegradedEntered, DegradedLeft

#: What a listener to events may be told, beside the status and how much it has missed.
_EVENTS: Final = (BreakerChanged, DegradedEntered, DegradedLeft, CallDenied, ClientDenied)
_ANSWERS: Final = (Status, ScopeReport, GroupReport, Health, Problem)
_TEXT: Final = {"schema": {"type": "string"}}

_JSON = Mapping[str, Any]


def document(server: str) -> _JSON:
    """The whole document; `server` is the path below which everything lies."""
    return {**_document(), "servers": [{"url": server}]}


@cache
def _document() -> _JSON:
    _, schemas = msgspec.json.schema_components((*_ANSWERS, *_EVENTS), ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "traffic-governor",
            "version": version("traffic-governor"),
            "description": "How the governor stands. Everything is read-only: any method but GET and HEAD is answered 405.",
        },
        "paths": _paths(),
        "components": {"schemas": schemas, "responses": _refusals()},
    }


def _paths() -> _JSON:
    scope = {
        "name": "scope",
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "description": "`github:get` or `outbound:github:get`; `inbound:chat`; `github` for all of its scopes together.",
        "examples": {"outbound": {"value": "github:get"}, "inbound": {"value": "inbound:default"}},
    }
    file = {"name": "file", "in": "path", "required": True, "schema": {"type": "string"}, "example": "app.js"}
    return {
        "/api/v1/traffic-control/status": _get("How everything stands", _json(Status)),
        "/api/v1/traffic-control/metrics/{scope}": _get(
            "How one scope stands, or all those of a provider", _json(ScopeReport, GroupReport), "404", parameter=scope
        ),
        "/api/v1/traffic-control/events": _get(
            "What happens, as server-sent events: a `snapshot` with the status each second; `breaker_changed`, "
            "`degraded_entered` and `degraded_left`; a sample of `refused` and `client_denied`; and `missed`, with the "
            "number of `events` that did not fit into the queue of this listener",
            {"text/event-stream": _TEXT},
        ),
        "/metrics": _get("The figures for Prometheus", {"text/plain": _TEXT, "application/openmetrics-text": _TEXT}, "501"),
        "/health": _get("Whether the governor runs", _json(Health)),
        "/openapi.json": _get("This document", {"application/json": {"schema": {"type": "object"}}}),
        "/": _get("The dashboard", {"text/html": _TEXT}, "404"),
        "/dashboard/{file}": _get("What it loads", {"*/*": _TEXT}, "404", parameter=file),
    }


def _get(summary: str, content: _JSON, *more: str, parameter: _JSON | None = None) -> _JSON:
    """An operation: a 200 with this content, the refusals that every path has, and more of them."""
    refusals = {status: {"$ref": f"#/components/responses/{status}"} for status in ("400", "405", "503", *more)}
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {"200": {"description": summary, "content": content}, **refusals},
    }
    if parameter is not None:
        operation["parameters"] = [parameter]
    return {"get": operation}


def _json(*documents: type[msgspec.Struct]) -> _JSON:
    references = [{"$ref": f"#/components/schemas/{one.__name__}"} for one in documents]
    return {"application/json": {"schema": references[0] if len(references) == 1 else {"oneOf": references}}}


def _refusals() -> _JSON:
    words = {
        "400": "`Host` names another host, or the request cannot be read",
        "404": "There is no such thing",
        "405": "Everything is read-only",
        "501": "The package prometheus-client is not installed",
        "503": "The governor does not run, the daemon is about to end, or too many ask",
    }
    content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": text, "content": content} for status, text in words.items()}
