"""The OpenAPI document (3.1) of the daemon. Its schemas come from the structs of the answers."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, get_args

import msgspec

from governor import __version__
from governor.daemon.documents import (
    BreakerAction,
    Changes,
    CloseAction,
    GroupReport,
    Health,
    HistoryReport,
    NamedAction,
    Problem,
    ResumeAction,
    ScopeReport,
    Status,
)
from governor.daemon.offers import BREAKER, CLOSE, OPEN, RESET, RESUME
from governor.daemon.problems import PROBLEM
from governor.instrumentation import AnyEvent, Entry, Shown

#: The events that listeners may get.
_EVENTS: Final = tuple(event for event in get_args(AnyEvent) if event.shown is not Shown.NEVER)
_ANSWERS: Final = (Status, Changes, ScopeReport, GroupReport, HistoryReport, Health, Problem, Entry)
#: Bodies of requests.
_BODIES: Final = (BreakerAction, CloseAction, NamedAction, ResumeAction)
_SECURITY: Final = {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}}
_TEXT: Final = {"schema": {"type": "string"}}

_JSON = Mapping[str, Any]


def document(server: str, *, actions: bool = False) -> _JSON:
    """The document; `server` is the path under which the daemon is mounted, and `actions` says whether it has actions."""
    return {**_document(actions), "servers": [{"url": server}]}


@cache
def _document(actions: bool) -> _JSON:
    bodies = _BODIES if actions else ()
    _, schemas = msgspec.json.schema_components((*_ANSWERS, *_EVENTS, *bodies), ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "traffic-governor",
            "version": __version__,
            "description": "The status of a governor. Everything but `/actions/` is read-only: other methods get a 405.",
        },
        "paths": {**_paths(), **(_actions() if actions else {})},
        "components": {"schemas": schemas, "responses": _problems(), **(_SECURITY if actions else {})},
    }


def _paths() -> _JSON:
    scope = {
        "name": "scope",
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "description": "`github:get` or `outbound:github:get`; `github` for all its scopes; a group: `inbound:chat`, `chat`.",
        "examples": {"outbound": {"value": "github:get"}, "inbound": {"value": "inbound:default"}},
    }
    of_scope = {"name": "scope", "in": "query", "schema": {"type": "string"}, "example": "outbound:github:get"}
    file = {"name": "file", "in": "path", "required": True, "schema": {"type": "string"}, "example": "app.js"}
    return {
        "/api/v1/traffic-control/status": _get("The whole status", _json(Status)),
        "/api/v1/traffic-control/metrics/{scope}": _get(
            "One scope or group, or all scopes of a provider", _json(ScopeReport, GroupReport), "404", parameter=scope
        ),
        "/api/v1/traffic-control/events": _get(
            "Server-sent events: a `snapshot` with the status; every second the `changes` of it; events, each followed by its "
            "`timeline` entry; and `missed`, with the number of `events` that did not fit into the queue of this listener",
            {"text/event-stream": _TEXT},
        ),
        "/api/v1/traffic-control/history": _get("The last hour", _json(HistoryReport), parameter=of_scope),
        "/metrics": _get("The metrics for Prometheus", {"text/plain": _TEXT, "application/openmetrics-text": _TEXT}, "501"),
        "/health": _get("Whether the governor runs", _json(Health)),
        "/openapi.json": _get("This document", {"application/json": {"schema": {"type": "object"}}}),
        "/": _get("The dashboard", {"text/html": _TEXT}, "404"),
        "/dashboard/{file}": _get("A file of the dashboard", {"*/*": _TEXT}, "404", parameter=file),
    }


def _actions() -> _JSON:
    return {
        f"/api/v1/traffic-control{BREAKER}": _post("Open the circuit breaker of a scope, or close it", BreakerAction, "404"),
        f"/api/v1/traffic-control{CLOSE}": _post("Close a scope or a provider", CloseAction, "404"),
        f"/api/v1/traffic-control{OPEN}": _post("Open a scope or a provider", NamedAction, "404"),
        f"/api/v1/traffic-control{RESET}": _post("Reset a scope or a provider", NamedAction, "404"),
        f"/api/v1/traffic-control{RESUME}": _post("End degraded mode", ResumeAction),
    }


def _post(summary: str, body: type[msgspec.Struct], *more: str) -> _JSON:
    problems = {
        status: {"$ref": f"#/components/responses/{status}"}
        for status in ("400", "401", "405", "408", "413", "415", "503", *more)
    }
    return {
        "post": {
            "summary": summary,
            "security": [{"token": []}],
            "requestBody": {"required": True, "content": _json(body)},
            "responses": {"204": {"description": "Done"}, **problems},
        }
    }


def _get(summary: str, content: _JSON, *more: str, parameter: _JSON | None = None) -> _JSON:
    """An operation: a 200 with this content, the problems that every path has, and `more`."""
    problems = {status: {"$ref": f"#/components/responses/{status}"} for status in ("400", "405", "503", *more)}
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {"200": {"description": summary, "content": content}, **problems},
    }
    if parameter is not None:
        operation["parameters"] = [parameter]
    return {"get": operation}


def _json(*documents: type[msgspec.Struct]) -> _JSON:
    references = [{"$ref": f"#/components/schemas/{one.__name__}"} for one in documents]
    return {"application/json": {"schema": references[0] if len(references) == 1 else {"oneOf": references}}}


def _problems() -> _JSON:
    words = {
        "400": "The `Host` field names a host that is not allowed, or the request is malformed",
        "401": "The admin token is missing or wrong",
        "404": "Unknown path, file or scope",
        "405": "The path has other methods, which `Allow` names",
        "408": "The body did not come in time",
        "413": "The body is too long",
        "415": "The body is not of the type application/json",
        "501": "The package prometheus-client is not installed",
        "503": "The governor does not run, the daemon is shutting down, or too many requests are in progress",
    }
    content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": text, "content": content} for status, text in words.items()}
