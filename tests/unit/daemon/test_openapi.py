"""The OpenAPI document is complete and describes every route."""

import json
import re
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from starlette.routing import Route

from governor import Governor
from governor.daemon import create_app, openapi, routes
from governor.daemon.documents import Status

DOCUMENT: Final[dict[str, Any]] = json.loads(msgspec.json.encode(openapi.document(server="/")))


def described(route: Route) -> str:
    """The path in the document, which has no convertors: the key of a scope may have a `/`."""
    return route.path.replace(":path}", "}")


def test_every_route_is_described_and_nothing_else() -> None:
    assert {described(route) for route in routes(Governor())} == set(DOCUMENT["paths"])


@pytest.mark.promise("R33")
def test_nothing_but_reading_is_described() -> None:
    assert [{"get"}] * len(DOCUMENT["paths"]) == [set(path) for path in DOCUMENT["paths"].values()]


def test_with_actions_every_route_is_described_and_actions_are_posts_that_need_the_token() -> None:
    document = openapi.document(server="/", actions=True)
    app = create_app(Governor(), admin_token="sixteen-letters!")
    actions = {path: operations["post"] for path, operations in document["paths"].items() if "/actions/" in path}

    assert {described(route) for route in app.routes if isinstance(route, Route)} == set(document["paths"])
    assert [[{"token": []}]] * 5 == [operation["security"] for operation in actions.values()]
    assert DOCUMENT["paths"].keys() | actions.keys() == document["paths"].keys()


def test_every_reference_leads_somewhere() -> None:
    references = set(re.findall(r'"\$ref": "#/components/(\w+)/(\w+)"', json.dumps(DOCUMENT)))

    assert references
    assert [] == [name for kind, name in references if name not in DOCUMENT["components"][kind]]


@pytest.mark.promise("R30")
def test_the_schema_of_the_status_has_every_field() -> None:
    schema = DOCUMENT["components"]["schemas"]["Status"]

    assert {field.encode_name for field in msgspec.structs.fields(Status)} == set(schema["properties"])
    assert "#/components/schemas/GlobalStatus" == schema["properties"]["global"]["$ref"]


@pytest.mark.promise("R32")
def test_every_field_of_the_answers_is_in_the_reference() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "http-api.md").read_text(encoding="utf-8")
    answers = {name: schema for name, schema in DOCUMENT["components"]["schemas"].items() if name != "Problem"}

    assert [] == [
        (name, field)
        for name, schema in answers.items()
        for field in schema.get("properties", ())
        if not re.search(rf"\b{field}\b", page)
    ]


def test_the_server_is_where_the_app_is_mounted() -> None:
    assert [{"url": "/governor"}] == openapi.document(server="/governor")["servers"]
