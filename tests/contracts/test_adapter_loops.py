"""The loop guard in every adapter: what is repeated with the same answer is denied, and no other call is."""

import json
from typing import Any

import pytest

from governor import LoopDetected
from tests.contracts.conftest import Opened
from tests.support.provider import Provider, Reply, answer, loopback_provider, status

pytestmark = pytest.mark.promise("R09")

#: The guard as it is, without its delays.
QUICK = {"loops": {"delay": "1ms", "polling_interval": "1ms"}}


def sent(session: Any, url: str, bodies: Any, *, method: str = "POST", calls: int = 25, **options: Any) -> int:
    """The number of calls until one is denied; at most `calls`."""
    for number in range(calls):
        try:
            session.call(method, url, content=json.dumps(bodies(number)).encode(), **options)
        except LoopDetected:
            return number
    return calls


def test_equal_calls_are_denied_and_others_go_on(provider: Provider, opened: Opened) -> None:
    session = opened(scope=QUICK)
    url = provider.at(
        "/chat", answer({"id": "chatcmpl-1234567890", "text": "no"}), answer({"id": "chatcmpl-0987654321", "text": "no"})
    )

    first = sent(session, url, lambda number: {"prompt": "what now?", "n": 1})
    assert first in range(8, 11)
    assert 0 == sent(session, url, lambda number: {"n": 1, "prompt": "what now?"})
    assert 3 == sent(session, url, lambda number: {"prompt": "thank you"}, calls=3)
    assert 3 == sent(session, url, lambda number: {"prompt": "what now?", "n": 1}, calls=3, headers={"x-governor-caller": "b"})
    assert first + 6 == len(provider.requests)
    with loopback_provider() as other:
        assert 3 == sent(session, other.at("/chat", answer({})), lambda number: {"prompt": "what now?", "n": 1}, calls=3)


def test_calls_that_differ_in_a_counter_are_denied_later(provider: Provider, opened: Opened) -> None:
    session = opened(scope=QUICK)
    url = provider.at("/chat", *(answer({"request": number, "text": "no"}) for number in range(25)))

    assert sent(session, url, lambda number: {"prompt": f"attempt {number}", "request": number}) in range(18, 21)


def test_polling_with_changing_answers_goes_on(provider: Provider, opened: Opened) -> None:
    session = opened(scope=QUICK)
    url = provider.at("/status", *(answer({"progress": number}) for number in range(12)))

    assert 12 == sent(session, url, lambda number: {"job": 7}, calls=12)


def test_a_job_that_is_pending_events_that_are_acknowledged_and_other_operations_go_on(
    provider: Provider, opened: Opened
) -> None:
    session = opened(scope=QUICK)
    job, events = provider.at("/job", answer({"state": "running"})), provider.at("/events", answer({"ok": True}))
    parts = provider.at("/parts", answer({"stored": 8}))
    operations = (
        ("content-range", "bytes {}-999/999"),
        ("soapaction", "urn:{}"),
        ("upload-offset", "{}"),
        ("x-amz-target", "T.Put{}"),
    )
    asked = [{name: value.format(number)} for name, value in operations for number in range(11)]

    assert [12, 22] == [
        sent(session, job, lambda number: {"job": 7}, calls=12),
        sent(session, events, lambda number: {"event": "tick", "seq": number}, calls=22),
    ]
    assert [1] * 44 == [sent(session, parts, lambda number: {}, method="PUT", calls=1, headers=each) for each in asked]


def test_a_call_that_is_repeated_with_empty_answers_is_denied_unless_their_headers_change(
    provider: Provider, opened: Opened
) -> None:
    session = opened(scope=QUICK)
    same, put = provider.at("/same", status(204)), provider.at("/put", *(Reply(headers={"etag": f'"{n}"'}) for n in range(12)))
    made = provider.at("/made", *(Reply(status=201, headers={"location": f"/items/{number}"}) for number in range(12)))
    watched = provider.at("/watched", *(Reply(status=204, headers={"etag": f'"{number}"'}) for number in range(12)))

    assert sent(session, same, lambda number: {"job": 7}) in range(8, 11)
    assert sent(session, put, lambda number: {"job": 7}, method="PUT") in range(8, 11)
    assert [12, 12, 22] == [
        sent(session, made, lambda number: {"name": "item"}, calls=12),
        sent(session, watched, lambda number: {"name": "item"}, calls=12),
        sent(session, same, lambda number: {"event": number}, calls=22),
    ]


def test_polling_with_a_post_that_reads_goes_on_unless_it_is_that_of_an_agent(provider: Provider, opened: Opened) -> None:
    session = opened(scope=QUICK)
    url = provider.at("/rpc", answer({"jsonrpc": "2.0", "id": 1, "result": None}))

    def asked(number: int) -> dict[str, object]:
        return {"jsonrpc": "2.0", "id": 1, "method": "eth_getTransactionReceipt", "params": ["0xa1"]}

    assert 25 == sent(session, url, asked)
    assert sent(session, url, asked, headers={"x-governor-caller": "agent-7"}) in range(8, 11)


def test_reading_retries_and_writes_without_a_word_are_no_loops(provider: Provider, opened: Opened) -> None:
    session = opened(scope=QUICK)
    read, created = provider.at("/read", status(200, b"same")), provider.at("/new", status(201, b"made"))
    busy, repeated = provider.at("/busy", *[status(500), status(200, b"same")] * 6), {"idempotency-key": "7"}

    assert [12, 22, 6] == [
        sum(session.get(read).status == 200 for _ in range(12)),
        sent(session, created, lambda number: {"name": f"item {number}"}, calls=22),
        sent(session, busy, lambda number: {}, calls=6, headers=repeated),
    ]
