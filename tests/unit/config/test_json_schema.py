"""The JSON Schema of the policy file accepts what the reader accepts, and rejects unknown keys and wrong types."""

import tomllib

import jsonschema_rs
import pytest

from governor.config import Config, show
from governor.config.json_schema import json_schema

VALIDATOR = jsonschema_rs.validator_for(json_schema())

ACCEPTED = [
    "",
    "\n".join(show(Config.from_mapping({}))),
    'global.requests_per_minute = "off"',
    "[outbound.hub]\nlimits = ['60 per minute strict']\nbreaker = { failures = 3, ramp_up = 'off' }",
    "[provider.hub]\nlimits = ['80 in flight']\ncost = { post = 5, get = { points = 1 } }\nhosts = ['api.hub.com']",
    "[inbound]\nannounce = true\n[inbound.chat]\npaths = ['/chat']\ntiers.gold.limits = ['5/s']",
    "[inbound.chat]\npaths = ['/chat']\n[[inbound.chat.routes]]\npaths = ['/chat/x']\nlimits = ['5/s']",
]
REJECTED = [
    "globl.max_scopes = 7",
    "global.max_scope = 7",
    "global.max_scopes = '7'",
    "outbound.hub.limits = '60/minute'",
    "outbound.hub.breaker.failure = 3",
    "provider.hub.cost.post = '5'",
    "provider.hub.cost.post = 'off'",
    "outbound.hub.retry.jitter = 'half'",
    "logging.enabled = 'yes'",
    "[[inbound.chat.routes]]\npaths = ['/chat/x']",
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_a_policy_file_that_can_be_read_satisfies_the_schema(text: str) -> None:
    document = tomllib.loads(text)
    Config.from_mapping(document)

    assert [] == [error.message for error in VALIDATOR.iter_errors(document)]


@pytest.mark.parametrize("text", REJECTED)
def test_unknown_keys_and_wrong_types_do_not_satisfy_the_schema(text: str) -> None:
    assert not VALIDATOR.is_valid(tomllib.loads(text))


def test_defaults_are_those_of_the_settings() -> None:
    schema = json_schema()

    assert 1000 == schema["properties"]["global"]["properties"]["requests_per_minute"]["default"]
    breaker = schema["properties"]["outbound"]["additionalProperties"]["properties"]["breaker"]
    assert "1m" == breaker["properties"]["open_for"]["default"]
