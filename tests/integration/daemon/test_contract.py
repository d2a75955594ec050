"""The daemon answers what its OpenAPI document says, whatever the request.

Events are left out, as their answer never ends; `test_events` is about them.
"""

import json
from typing import Any, Final

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from governor.daemon import openapi
from tests.integration.daemon.daemon import API, Daemon

pytestmark = pytest.mark.promise("R30", "R31", "R33")

DOCUMENT: Final[dict[str, Any]] = json.loads(msgspec.json.encode(openapi.document(server="/")))

contract = schemathesis.openapi.from_dict(DOCUMENT).exclude(path=f"{API}/events")


@pytest.fixture(scope="module", autouse=True)
def used(daemon: Daemon) -> None:
    """The scope that the document names as an example."""
    daemon.do("call", "github:get", "200", "3")


def test_the_document_that_is_served_is_the_one_that_is_tested(daemon: Daemon) -> None:
    assert DOCUMENT == daemon.get("/openapi.json").json()


@given(case=contract.as_strategy())
@settings(suppress_health_check=list(HealthCheck))
def test_whatever_is_asked_the_answer_is_as_documented(case: schemathesis.Case[Any], daemon: Daemon) -> None:
    case.call_and_validate(base_url=daemon.url)
