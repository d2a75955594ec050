"""Inbound requests from another event loop while the governor's stands still: they pass or are denied, and are counted."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import anyio
import pytest

from governor import Config, Denied, Governor, Reason
from governor._actors import asking
from governor._actors.inbound.group import GroupActor
from governor.messages import InboundDenied, InboundRequest
from governor_client import TrafficControlMiddleware
from tests.support.leases import standing_still
from tests.support.waits import PATIENCE, until

pytestmark = pytest.mark.promise("R25")

REQUESTS = 5
BACKENDS = ["asyncio", "trio"]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine denies nothing."""
    monkeypatch.setattr(asking, "_ANSWER_TIMEOUT", PATIENCE)


@contextmanager
def without_answers(governor: Governor) -> Iterator[None]:
    """The loop of the governor stands still, and requests do not wait for it as long as they do otherwise."""
    with pytest.MonkeyPatch.context() as patch, standing_still(governor):
        patch.setattr(asking, "_ANSWER_TIMEOUT", 0.01)
        yield


@pytest.fixture(params=["pass", "deny"])
def on_overload(request: pytest.FixtureRequest) -> str:
    word: str = request.param
    return word


@pytest.fixture
def governor(on_overload: str) -> Iterator[Governor]:
    config = Config.from_mapping({"inbound": {"default": {"limits": ["2/hour burst 2"], "on_overload": on_overload}}})
    with Governor(config) as governor:
        yield governor


def request_of(governor: Governor) -> InboundRequest:
    return InboundRequest(governor.inbound.pseudonyms.actor(b"ann"), governor.inbound.pseudonyms.address(b"192.0.2.1"))


async def admit(governor: Governor, times: int = REQUESTS) -> list[InboundDenied | Denied | None]:
    """So many requests at once."""
    answers: list[InboundDenied | Denied | None] = []

    async def ask() -> None:
        answers.append((await governor.inbound.admit("default", request_of(governor))).denied)

    async with anyio.create_task_group() as tasks:
        for _ in range(times):
            tasks.start_soon(ask)
    return answers


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_not_answered_in_time_is_counted_once_and_spends_nothing(
    governor: Governor, on_overload: str, backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    with without_answers(governor):
        stalled = anyio.run(admit, governor, backend=backend)
    after = anyio.run(partial(admit, governor, 3), backend=backend)
    group = governor.statistics().groups["default"]
    denied = group.counters.denied
    warnings = [(record.levelno, record.message.rpartition("default ")[2]) for record in caplog.records]

    assert [2, 1] == [after.count(None), len([one for one in after if isinstance(one, InboundDenied)])]
    if on_overload == "pass":
        assert [None] * REQUESTS == stalled
        assert (REQUESTS, REQUESTS + 2, {"rate_limit_exceeded": 1}) == (group.unenforced, group.counters.requests, denied)
        assert [(logging.WARNING, "pass without limits.")] == warnings
    else:
        assert [Denied("default", Reason.OVERLOADED, 1.0)] * REQUESTS == stalled
        assert (0, 2, {"rate_limit_exceeded": 1, "overloaded": REQUESTS}) == (
            group.unenforced,
            group.counters.requests,
            denied,
        )
        assert [(logging.WARNING, "are denied.")] == warnings


def test_through_the_middleware_nothing_is_left_under_way(governor: Governor, on_overload: str) -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def main() -> None:
        middleware = TrafficControlMiddleware(app, governor)
        scope = {"type": "http", "path": "/", "client": ("192.0.2.1", 1), "headers": []}
        for _ in range(REQUESTS):
            await middleware(scope, receive, send)

    with without_answers(governor):
        anyio.run(main)
    starts = [message for message in sent if message["type"] == "http.response.start"]
    went_on = REQUESTS if on_overload == "pass" else 0
    until(lambda: governor.statistics().groups["default"].counters.answered_2xx == went_on)
    counters = governor.statistics().groups["default"].counters

    assert [200 if on_overload == "pass" else 503] * REQUESTS == [start["status"] for start in starts]
    assert [on_overload == "deny"] * REQUESTS == [(b"retry-after", b"1") in start["headers"] for start in starts]
    assert went_on == counters.requests


def test_a_request_that_is_cancelled_before_the_loop_looks_at_it_is_not_counted(governor: Governor) -> None:
    async def leave() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await admit(governor)

    with without_answers(governor):
        anyio.run(leave)
    counters = governor.statistics().groups["default"].counters

    assert (0, {}, 2) == (counters.requests, counters.denied, anyio.run(admit, governor).count(None))


def test_a_request_that_was_granted_after_it_was_cancelled_is_not_in_flight(
    governor: Governor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def leave() -> None:
        async with anyio.from_thread.BlockingPortal() as portal:
            with anyio.CancelScope() as scope:
                gone = anyio.Event()
                original = GroupActor.admit

                async def cancel_and_wait() -> None:
                    # In one call: once cancelled, the portal may take no other.
                    scope.cancel()
                    await gone.wait()

                def granted(actor: GroupActor, one: InboundRequest) -> InboundDenied | None:
                    answer = original(actor, one)
                    portal.call(cancel_and_wait)
                    return answer

                monkeypatch.setattr(GroupActor, "admit", granted)
                try:
                    await governor.inbound.admit("default", request_of(governor))
                finally:
                    gone.set()

    anyio.run(leave)
    until(lambda: governor.statistics().groups["default"].counters.failures == 1)

    assert 1 == governor.statistics().groups["default"].counters.requests
