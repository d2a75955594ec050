"""The contract of every HTTP adapter for limits of tokens: an estimate before the call, and what the answer says after it."""

import json
from typing import Any, Final

import pytest

from governor import CostExceedsCapacity
from tests.contracts.adapters import Session
from tests.contracts.conftest import Opened, counted
from tests.support.provider import NO_ANSWER, Provider, Reply, answer, events, status

pytestmark = pytest.mark.promise("R03")

LIMIT: Final = 10_000
SCOPE: Final = {"limits": [f"{LIMIT} tokens per minute strict"], "retry": {"attempts": 1}}
BODY: Final = json.dumps({"model": "m", "max_tokens": 500, "messages": [{"role": "user", "content": "Hello" * 80}]}).encode()
ESTIMATE: Final = -(-len(BODY) // 4) + 500
USAGE: Final = {"usage": {"prompt_tokens": 90, "completion_tokens": 11, "total_tokens": 101}}


def used(session: Session) -> int:
    """The tokens that the limit counts."""
    session.settle()
    counted(session.governor, "POST")
    return LIMIT - session.governor.statistics().scopes["provider:post"].limits[0].available


@pytest.mark.parametrize(
    ("reply", "tokens"),
    [
        (answer(USAGE), 101),
        (events({"choices": [], "usage": None}, {"choices": [], **USAGE}, "data: [DONE]"), 101),
        (answer({"id": 7}), ESTIMATE),
        (answer({"error": "no"}, 400), 0),
        (status(500), ESTIMATE),
        (NO_ANSWER, ESTIMATE),
    ],
    ids=["usage", "stream", "none", "400", "500", "broken"],
)
def test_an_estimate_is_charged_first_and_then_what_the_answer_says(
    reply: Reply, tokens: int, provider: Provider, opened: Opened
) -> None:
    session = opened(scope=SCOPE)
    url = provider.at("/", reply)
    try:
        session.call("POST", url, content=BODY)
    except Exception:
        assert reply is NO_ANSWER

    assert tokens == used(session)


@pytest.mark.parametrize(
    ("reply", "tokens"),
    [(answer(USAGE), ESTIMATE), (answer({"error": "no"}, 429), ESTIMATE), (answer({"usage": {"total_tokens": 9_000}}), 9_000)],
    ids=["less", "429", "more"],
)
def test_a_provider_that_counts_what_a_call_reserves_gets_nothing_back(
    reply: Reply, tokens: int, provider: Provider, opened: Opened
) -> None:
    session = opened(scope={**SCOPE, "provider": {"tokens_counted": "reserved"}})
    session.call("POST", provider.at("/", reply), content=BODY)

    assert tokens == used(session)


def test_a_request_that_is_larger_than_the_limit_is_denied_for_good(provider: Provider, opened: Opened) -> None:
    session = opened(scope={"limits": [f"{ESTIMATE - 1} tokens per minute strict"]})

    with pytest.raises(CostExceedsCapacity):
        session.call("POST", provider.at("/", answer(USAGE)), content=BODY)

    assert [] == provider.requests


def test_what_no_limit_counts_is_not_named_and_its_body_not_read(
    provider: Provider, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = opened(scope={"limits": ["5 per minute strict"], "loops": {"enabled": False}})
    asked: list[Any] = []
    # Before the first call of a scope, the loop guard does not know that it is off.
    session.call("POST", provider.at("/", answer(USAGE)), content=BODY)
    monkeypatch.setattr("governor_client._request.Request.body", property(asked.append))
    session.call("POST", provider.at("/", answer(USAGE)), content=BODY)

    assert ([], ()) == (asked, session.governor.statistics().scopes["provider:post"].unknown_units)
