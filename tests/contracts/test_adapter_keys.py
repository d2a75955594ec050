"""The contract of every HTTP adapter for keys: a function of the program says which scope of the provider a request is for."""

import pytest

from governor import ConfigError
from governor_client import GovernedTransport, Request, model_of
from tests.contracts.conftest import Opened
from tests.support.provider import Provider, status

pytestmark = pytest.mark.promise("R14")


def test_a_request_belongs_to_the_scope_of_its_key(provider: Provider, opened: Opened) -> None:
    session = opened(key=model_of)
    url = provider.at("/", status(200, b"pong"))

    for body in (b'{"model": "GPT-5", "messages": []}', b'{"model": "gpt-5"}', b'{"messages": []}', b"not JSON"):
        session.call("POST", url, content=body)
    session.call("GET", url)

    scopes = session.governor.statistics().scopes
    requests = {name: scope.counters.requests for name, scope in scopes.items()}
    assert {"provider/gpt-5:post": 2, "provider:post": 2, "provider:get": 1} == requests


def test_retries_keep_the_key(provider: Provider, opened: Opened) -> None:
    session = opened(key=lambda request: request.headers.get("x-account"))
    url = provider.at("/", status(503), status(200, b"pong"))

    session.call("GET", url, headers={"x-account": "seven"})

    scopes = session.governor.statistics().scopes
    assert {"provider/seven:get": 2} == {name: scope.counters.requests for name, scope in scopes.items()}


def test_a_key_that_is_no_function_is_rejected() -> None:
    with pytest.raises(ConfigError, match="key is 'gpt-5'"):
        GovernedTransport("provider", key="gpt-5")  # type: ignore[arg-type] # what is tested


def test_a_body_that_is_no_object_names_no_model() -> None:
    request = Request("POST", "h", "/", {})

    assert model_of(request) is None
