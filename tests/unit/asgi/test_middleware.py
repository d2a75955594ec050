import gc
import logging
import re
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import pytest

from governor import Config, CounterRecord, Governor, Reason
from governor._actors.inbound.group import GroupActor
from governor.asgi.types import App, Message, Receive, Scope, Send
from governor.messages import InboundRequest
from governor.testing import ManualClock
from governor_client import TrafficControlMiddleware

pytestmark = pytest.mark.anyio

#: What the fixtures make; see conftest.
Ask = Any
Configured = Callable[..., Config]

ANN, BOB = (b"x-actor", b"ann"), (b"x-actor", b"bob")


def counted(governor: Governor, group: str = "default") -> CounterRecord:
    return governor.statistics().groups[group].counters


@pytest.mark.promise("R21")
async def test_a_flood_of_one_client_does_not_affect_the_others(ask: Ask) -> None:
    floods = [(await ask(headers=[ANN])).status for _ in range(20)]

    assert [200, 200] + 18 * [429] == floods
    assert [200, 200, 429] == [(await ask(headers=[BOB])).status for _ in range(3)]


@pytest.mark.promise("R21")
async def test_an_actor_is_one_client_wherever_it_calls_from_if_claims_are_trusted(
    asking: type[Ask], app: App, configured: Configured
) -> None:
    async with Governor(configured(identity="trusted"), clock=ManualClock()) as governor:
        ask = asking(TrafficControlMiddleware(app, governor))
        statuses = [(await ask(headers=[ANN], client=(f"198.51.100.{number}", 1))).status for number in range(3)]

    assert [200, 200, 429] == statuses


@pytest.mark.promise("R24")
@pytest.mark.parametrize("claim", [b"x-actor", b"x-user-id", b"x-session-id"])
async def test_a_claimed_name_spends_nothing_of_the_client_that_it_names(ask: Ask, claim: bytes) -> None:
    stranger = [(await ask(headers=[(claim, b"ann")], client=("203.0.113.66", 1))).status for _ in range(9)]
    ann = [(await ask(headers=[(claim, b"ann")])).status for _ in range(3)]

    assert ([200, 200] + 7 * [429], [200, 200, 429]) == (stranger, ann)


FORGED = [
    b"for=192.0.2.9",
    b"for=192.0.2.8",
    b"for=10.0.0.1",
    b"for=unknown",
    b'"',
    b"\xff",
    b"",
    b"for=192.0.2.9,for=192.0.2.7",
]


@pytest.mark.promise("R24")
@pytest.mark.parametrize("lines", [1, 2])
@pytest.mark.parametrize("probes_first", [False, True])
async def test_a_forged_field_gains_no_budget_and_spends_none_of_others(
    asking: type[Ask], app: App, configured: Configured, lines: int, *, probes_first: bool
) -> None:
    async with Governor(configured(trusted_proxies=["10.0.0.1"]), clock=ManualClock()) as governor:
        ask = asking(TrafficControlMiddleware(app, governor))

        async def through_proxy(times: int, *headers: tuple[bytes, bytes]) -> list[int]:
            return [(await ask(headers=headers, client=("10.0.0.1", 1))).status for _ in range(times)]

        real = (b"x-forwarded-for", b"203.0.113.66")
        probes = await through_proxy(2) if probes_first else []
        attack = [await through_proxy(1, real, *([(b"forwarded", said)] * lines)) for said in FORGED]
        victims = [
            await through_proxy(2, (b"x-forwarded-for", victim)) for victim in (b"192.0.2.9", b"192.0.2.8", b"192.0.2.7")
        ]
        probes = probes or await through_proxy(2)

    assert [200, 200] + 6 * [429] == [status for (status,) in attack]
    assert 3 * [[200, 200]] == victims
    assert [200, 200] == probes


@pytest.mark.promise("R20")
async def test_every_group_has_limits_of_its_own(asking: type[Ask], app: App, configured: Configured) -> None:
    config = configured(chat={"limits": ["1/s burst 1"]})
    async with Governor(config, clock=ManualClock()) as governor:
        ask = asking(TrafficControlMiddleware(app, governor))
        statuses = [(await ask(path)).status for path in ("/api/v1/chat", "/api/v1/chat/1", "/api/v1/chatter", "/")]

    assert [200, 429, 200, 200] == statuses


@pytest.mark.promise("R22")
async def test_a_denial_states_the_limit_and_the_wait_for_programs_and_people(ask: Ask) -> None:
    for _ in range(2):
        await ask(headers=[ANN])
    reply = await ask(headers=[ANN])
    policy, pk, _ = reply.headers["ratelimit-policy"].partition(";pk=")

    assert ["http.response.start", "http.response.body"] == reply.kinds
    assert (429, "1", "application/problem+json") == (
        reply.status,
        reply.headers["retry-after"],
        reply.headers["content-type"],
    )
    assert ('"client";q=2;w=2', ";pk=", '"client";r=0;t=1') == (policy, pk, reply.headers["ratelimit"])
    assert {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "status": 429,
        "violated-policies": ["client"],
        "error": "rate_limit_exceeded",
        "message": "Too many requests of this client in default; try again in 1 s.",
        "retry_after_seconds": 1,
    } == reply.problem
    assert len(reply.messages[1]["body"]) == int(reply.headers["content-length"])


@pytest.mark.promise("R22")
async def test_a_client_that_waits_as_long_as_the_response_says_is_granted(ask: Ask, clock: ManualClock) -> None:
    for _ in range(2):
        await ask()
    wait = int((await ask()).headers["retry-after"])
    clock.advance(wait - 1e-6)
    early = (await ask()).status
    clock.advance(1e-6)

    assert [429, 200, 429] == [early, (await ask()).status, (await ask()).status]


@pytest.mark.promise("R22")
async def test_a_response_that_another_middleware_changes_is_unchanged_the_next_time(ask: Ask) -> None:
    for _ in range(2):
        await ask()
    start, body = (await ask()).messages
    start["headers"].append((b"x-added", b"1"))
    start["status"], body["body"] = 200, b""
    again = await ask()

    assert "x-added" not in again.headers
    assert (429, True) == (again.status, bool(again.messages[1]["body"]))


@pytest.mark.promise("R24")
async def test_a_new_name_for_each_request_meets_the_limit_of_the_address(
    asking: type[Ask], app: App, configured: Configured
) -> None:
    async with Governor(configured({"address_limits": ["1/s burst 5"]}), clock=ManualClock()) as governor:
        ask = asking(TrafficControlMiddleware(app, governor))
        replies = [await ask(headers=[(b"x-actor", str(number).encode())]) for number in range(8)]
        elsewhere = await ask(headers=[ANN], client=("198.51.100.2", 1))

    assert 5 * [200] + 3 * [429] == [reply.status for reply in replies]
    assert ["address"] == replies[-1].problem["violated-policies"]
    assert 200 == elsewhere.status


@pytest.mark.promise("R24")
async def test_a_new_address_for_each_request_too_meets_the_limit_of_the_group(
    asking: type[Ask], app: App, configured: Configured
) -> None:
    async with Governor(configured({"total_limits": ["1/s burst 5"]}), clock=ManualClock()) as governor:
        ask = asking(TrafficControlMiddleware(app, governor))
        replies = [await ask(client=(f"198.51.100.{number}", 1)) for number in range(6)]

    assert 5 * [200] + [429] == [reply.status for reply in replies]
    assert '"total";q=5;w=5' == replies[-1].headers["ratelimit-policy"]


@pytest.mark.promise("R23")
async def test_exempt_paths_are_never_denied_and_spend_nothing(ask: Ask, governor: Governor) -> None:
    assert 10 * [200] == [(await ask("/health")).status for _ in range(10)]
    assert 0 == counted(governor).requests


@pytest.mark.promise("R25")
async def test_a_handshake_over_the_limit_is_answered_with_a_document_if_the_server_can(ask: Ask) -> None:
    extensions: Mapping[str, object] = {"websocket.http.response": {}}
    kinds = [(await ask(kind="websocket", extensions=extensions)).kinds for _ in range(2)]
    reply = await ask(kind="websocket", extensions=extensions)

    assert 2 * [["websocket.accept"]] == kinds
    assert ["websocket.http.response.start", "websocket.http.response.body"] == reply.kinds
    assert (429, "1", 429) == (reply.status, reply.headers["retry-after"], reply.problem["status"])


@pytest.mark.promise("R25")
@pytest.mark.parametrize("scope", [{}, {"extensions": None}, {"extensions": {"other": {}}}])
async def test_and_closed_if_it_cannot(ask: Ask, scope: Mapping[str, object]) -> None:
    for _ in range(2):
        await ask(kind="websocket", **scope)
    reply = await ask(kind="websocket", **scope)

    reason = "Too many requests of this client in default; try again in 1 s."
    assert [{"type": "websocket.close", "code": 1013, "reason": reason}] == reply.messages


@pytest.mark.promise("R25")
@pytest.mark.parametrize("kind", ["lifespan", "telnet"])
async def test_what_is_neither_a_request_nor_a_handshake_passes_as_it_is(governor: Governor, kind: str) -> None:
    seen: list[object] = []

    async def app(*arguments: object) -> None:
        seen.extend(arguments)

    async def receive() -> Message:
        return {}

    async def send(message: Message) -> None:
        pass

    scope: Scope = {"type": kind}
    await TrafficControlMiddleware(app, governor)(scope, receive, send)

    assert [True, True, True] == [one is other for one, other in zip(seen, (scope, receive, send), strict=True)]


async def test_a_request_that_has_ended_is_freed_without_the_garbage_collector(app: App, governor: Governor) -> None:
    class Cycle:
        """A request as uvicorn has it: it keeps the scope, in which the context of the request is."""

        def __init__(self) -> None:
            self.scope: Scope = {"type": "http", "path": "/", "client": ("198.51.100.1", 4711), "headers": [ANN]}
            self.status = 0

        async def receive(self) -> Message:
            return {"type": "http.request", "body": b""}

        async def send(self, message: Message) -> None:
            self.status = message.get("status", self.status)

    middleware, seen = TrafficControlMiddleware(app, governor), []
    gc.disable()
    try:
        for _ in range(3):
            cycle = Cycle()
            await middleware(cycle.scope, cycle.receive, cycle.send)
            status, kept = cycle.status, weakref.ref(cycle)
            del cycle
            seen.append((status, kept() is None))
    finally:
        gc.enable()

    assert [(200, True), (200, True), (429, True)] == seen


@pytest.mark.promise("R25")
async def test_messages_pass_as_they_are(asking: type[Ask], governor: Governor) -> None:
    said: list[Message] = [
        {"type": "http.response.start", "status": 200, "headers": ()},
        {"type": "http.response.body", "body": b"1", "more_body": True},
        {"type": "http.response.body", "body": b"2"},
        {"type": "http.response.trailers", "headers": ()},
    ]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in said:
            await send(message)

    reply = await asking(TrafficControlMiddleware(app, governor))()

    assert 4 * [True] == [one is other for one, other in zip(said, reply.messages, strict=True)]


@pytest.mark.promise("R22")
async def test_an_announcement_says_what_is_left_and_leaves_the_message_of_the_application_alone(
    asking: type[Ask], configured: Configured
) -> None:
    start: Message = {"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start if scope["type"] == "http" else {"type": "websocket.accept"})

    async with Governor(configured(announce=True), clock=ManualClock()) as governor:
        ask = asking(TrafficControlMiddleware(app, governor))
        told = [(await ask(kind=kind)).headers for kind in ("http", "websocket")]

    assert ["1", None] == [headers.get("x-own") for headers in told]
    assert ['"client";r=1;t=1', '"client";r=0;t=2'] == [headers["ratelimit"] for headers in told]
    assert [(b"x-own", b"1")] == start["headers"]


async def test_without_limits_there_is_nothing_to_announce(asking: type[Ask], app: App, configured: Configured) -> None:
    free: Mapping[str, object] = {"limits": [], "address_limits": [], "total_limits": []}
    async with Governor(configured(free, announce=True), clock=ManualClock()) as governor:
        reply = await asking(TrafficControlMiddleware(app, governor))()

    assert ["content-type"] == list(reply.headers)


@pytest.mark.promise("R22")
async def test_a_dry_run_counts_and_announces_and_denies_no_request(
    asking: type[Ask], app: App, configured: Configured
) -> None:
    async with Governor(configured({"dry_run": True}), clock=ManualClock()) as governor:
        ask = asking(TrafficControlMiddleware(app, governor))
        replies = [await ask() for _ in range(4)]
        unenforced = governor.statistics().groups["default"].unenforced

    assert 4 * [200] == [reply.status for reply in replies]
    assert [None, None, '"client";r=0;t=1', '"client";r=0;t=1'] == [reply.headers.get("ratelimit") for reply in replies]
    assert 2 == unenforced


@pytest.mark.promise("R25", "R32")
async def test_the_status_of_every_answer_is_counted(asking: type[Ask], governor: Governor) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        match scope["path"]:
            case "/silent":
                return
            case "/accept":
                await send({"type": "websocket.accept"})
                await send({"type": "websocket.close"})
            case "/close":
                await send({"type": "websocket.close"})
            case path:
                await send({"type": "http.response.start", "status": int(path[1:4])})
                if path.endswith("broken"):
                    raise RuntimeError("broken")

    ask = asking(TrafficControlMiddleware(app, governor))
    for path in ("/200", "/404", "/500", "/304", "/silent", "/accept", "/close"):
        kind = "websocket" if path in ("/accept", "/close") else "http"
        await ask(path, kind=kind, headers=[(b"x-actor", path.encode())])
    with pytest.raises(RuntimeError, match="broken"):
        await ask("/200broken", headers=[ANN])
    counters = counted(governor)

    assert (8, 1, 2, 1, 2, 2) == (
        counters.requests,
        counters.answered_2xx,
        counters.answered_4xx,
        counters.answered_5xx,
        counters.others,
        counters.failures,
    )


async def test_a_request_that_is_cancelled_in_the_middle_has_broken_off(asking: type[Ask], governor: Governor) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        scopes.cancel()
        await anyio.sleep_forever()

    with anyio.CancelScope() as scopes:
        await asking(TrafficControlMiddleware(app, governor))()

    assert (0, 1) == (counted(governor).answered_2xx, counted(governor).failures)


async def test_other_settings_hold_from_the_next_request_on(ask: Ask, governor: Governor, configured: Configured) -> None:
    before = [(await ask("/new", headers=[ANN])).status for _ in range(3)]
    governor.reconfigure(configured(new={"paths": ["/new"], "limits": ["1/s burst 1"]}, actor_headers=["x-team"]))
    after = [(await ask("/new", headers=[(b"x-team", b"red")])).status for _ in range(2)]

    assert ([200, 200, 429], [200, 429]) == (before, after)


@pytest.mark.promise("R22")
@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_while_it_drains_all_requests_but_health_checks_are_denied(
    app: App, asking: type[Ask], governor: Governor, kind: str
) -> None:
    middleware = TrafficControlMiddleware(app, governor)
    middleware.draining = True
    ask = asking(middleware)
    extensions: Mapping[str, object] = {"websocket.http.response": {}}
    reply = await ask(kind=kind, extensions=extensions)
    health = await ask("/health")

    assert (503, "5", 200) == (reply.status, reply.headers["retry-after"], health.status)
    assert {
        "type": "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
        "title": "Request cannot be satisfied due to temporary server capacity constraints",
        "status": 503,
        "error": "shutting_down",
        "message": "This server is shutting down; try again in 5 s.",
        "retry_after_seconds": 5,
    } == reply.problem


@pytest.mark.promise("R22")
async def test_what_drains_after_its_first_request_denies_the_next_one(app: App, asking: type[Ask], governor: Governor) -> None:
    middleware = TrafficControlMiddleware(app, governor)
    ask = asking(middleware)
    before = (await ask()).status
    middleware.draining = True

    assert (200, 503, 200) == (before, (await ask()).status, (await ask("/health")).status)


@pytest.mark.promise("R20")
async def test_pages_of_the_governor_that_are_mounted_later_are_exempt_from_then_on(ask: Ask, governor: Governor) -> None:
    before = [(await ask("/status/page")).status for _ in range(3)]
    governor.inbound.add_own_pages(["/status/page"])

    assert ([200, 200, 429], 200) == (before, (await ask("/status/page")).status)


async def test_clients_are_known_by_another_secret_from_the_next_request_on(ask: Ask, governor: Governor) -> None:
    before = [(await ask()).status for _ in range(3)]
    governor.inbound.rekey(bytes(32))

    assert ([200, 200, 429], 200) == (before, (await ask()).status)


async def test_a_path_that_is_known_has_another_group_where_it_is_mounted_and_its_preflights_are_not_limited(
    app: App, asking: type[Ask], configured: Configured
) -> None:
    none: Mapping[str, object] = {"address_limits": [], "total_limits": []}
    strict = {**none, "limits": ["1/day burst 1"]}
    config = configured(
        {**none, "limits": ["2/day burst 2"]},
        inner={**strict, "paths": ["/inner", "/inner/health"]},
        outer={**strict, "paths": ["/outer"]},
    )
    preflight = {"method": "OPTIONS", "headers": [(b"origin", b"o"), (b"access-control-request-method", b"PUT")]}
    async with Governor(config, clock=ManualClock()) as governor:
        ask = asking(TrafficControlMiddleware(app, governor))
        statuses = [(await ask("/things", **scope)).status for scope in ({}, {}, {}, preflight, {"root_path": "/inner"})]
        mounted = [(await ask("/things", root_path="/inner", app_root_path="/outer")).status for _ in range(2)]
        exempt = [(await ask("/health", root_path=root)).status for root in ("", "/inner", "")]

    assert ([200, 200, 429, 200, 200], [200, 429], [200, 429, 200]) == (statuses, mounted, exempt)


@pytest.mark.promise("R55")
@pytest.mark.parametrize(("asked", "between"), [(True, [503, 200]), (False, [])])
async def test_after_the_governor_has_been_left_all_requests_are_denied_until_it_is_entered_again(
    app: App, asking: type[Ask], configured: Configured, asked: bool, between: list[int]
) -> None:
    governor = Governor(configured({"limits": ["1/day burst 1"]}), clock=ManualClock())
    ask = asking(TrafficControlMiddleware(app, governor))
    async with governor:
        before = [(await ask()).status for _ in range(2)]
    statuses = [(await ask(path)).status for path in ("/", "/health") if asked]
    async with governor:
        after = [(await ask()).status for _ in range(2)]
        denied = governor.statistics().groups["default"].counters.denied

    assert ([200, 429], between, [200, 429]) == (before, statuses, after)
    assert {Reason.RATE_LIMIT: 1} == denied


async def test_with_a_governor_that_was_never_entered_requests_pass_and_one_line_is_logged(
    app: App, asking: type[Ask], configured: Configured, caplog: pytest.LogCaptureFixture
) -> None:
    ask = asking(TrafficControlMiddleware(app, Governor(configured())))
    statuses = [(await ask()).status for _ in range(5)]

    assert 5 * [200] == statuses
    assert [("governor", logging.ERROR)] == [(record.name, record.levelno) for record in caplog.records]
    assert "not started" in caplog.text


@pytest.mark.parametrize("where", ["admit", "_count_ends"])
async def test_a_bug_in_the_governor_lets_requests_pass(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    def fail(actor: GroupActor, request: InboundRequest | None = None) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(GroupActor, where, fail)
    monkeypatch.setattr("governor._actors.inbound.admitting.MAX_UNCOUNTED", 1)
    statuses = [(await ask()).status for _ in range(2)]

    assert 2 * [200] == statuses
    assert ["requests pass: ZeroDivisionError"] == re.findall("requests pass: .*", caplog.text)


@pytest.mark.promise("R43")
async def test_no_log_line_names_a_client(ask: Ask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    secret = "secret-ann"

    def fail(actor: GroupActor, request: InboundRequest) -> None:
        raise KeyError(secret)

    monkeypatch.setattr(GroupActor, "admit", fail)
    await ask("/secret-path", headers=[(b"x-actor", b"secret-ann")], client=("203.0.113.77", 1))

    assert ["KeyError"] == [word for word in ("KeyError", "secret-", "203.0.113.77") if word in caplog.text]


async def test_a_client_may_have_no_address(ask: Ask) -> None:
    assert [200, 200, 429] == [(await ask(client=None)).status for _ in range(3)]
