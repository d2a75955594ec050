"""What an application says of its clients: key, tier, cost, exemption; and limits of every kind, also for single routes."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import pytest

from governor import Config, ConfigError, Governor, GovernorError, UsageError
from governor.asgi import TrafficControlWSGIMiddleware
from governor.asgi.admission import AdmissionController
from governor.asgi.types import App, Receive, Scope, Send
from governor.testing import ManualClock
from governor_client import Client, TrafficControlMiddleware

pytestmark = pytest.mark.anyio

#: What the fixtures make; see conftest.
Asking = Any
Configured = Callable[..., Config]

ANN = (b"x-actor", b"ann")
ADDRESS = "alice@example.com"


def user(scope: Scope) -> Any:
    """What an authentication middleware has put there."""
    return scope.get("user")


async def async_user(scope: Scope) -> Any:
    await anyio.lowlevel.checkpoint()
    return scope.get("user")


def running(configured: Configured, default: Mapping[str, object], **inbound: object) -> Governor:
    return Governor(configured(default, **inbound), clock=ManualClock())


@pytest.mark.promise("R21", "R26")
@pytest.mark.parametrize("key", [user, async_user])
async def test_the_key_of_the_application_is_the_client_wherever_and_by_whatever_headers_it_asks(
    app: App, asking: Asking, governor: Governor, key: Any
) -> None:
    ask = asking(TrafficControlMiddleware(app, governor, key=key))
    asks: list[Mapping[str, Any]] = [
        {"user": "alice", "client": ("203.0.113.1", 1)},
        {"user": b"alice", "headers": [ANN]},
        {"user": Client("alice")},
        {"user": "bob", "client": ("203.0.113.1", 1)},
    ]

    assert [200, 200, 429, 200] == [(await ask(**one)).status for one in asks]


@pytest.mark.promise("R21", "R26")
async def test_no_header_leads_to_what_belongs_to_a_key(app: App, asking: Asking, governor: Governor) -> None:
    ask = asking(TrafficControlMiddleware(app, governor, key=lambda scope: scope.get("user", "")))
    stranger = [(await ask(headers=[(b"x-actor", b"alice")])).status for _ in range(3)]

    assert [200, 200, 429] == stranger
    assert [200, 200, 429] == [(await ask(user="alice")).status for _ in range(3)]


@pytest.mark.promise("R21", "R26")
async def test_without_an_answer_of_the_key_function_nothing_is_limited_or_counted(
    app: App, asking: Asking, governor: Governor
) -> None:
    ask = asking(TrafficControlMiddleware(app, governor, key=user))

    assert [200] * 5 == [(await ask(user=None)).status for _ in range(5)]
    assert 0 == governor.statistics().groups["default"].counters.requests


def failing(scope: Scope) -> Any:
    raise LookupError(ADDRESS)


def foreign(scope: Scope) -> Any:
    raise UsageError("not like this")


@pytest.mark.promise("R24", "R21", "R26")
@pytest.mark.parametrize(
    ("key", "why"),
    [
        (failing, "LookupError"),
        (foreign, "not like this"),
        (lambda scope: 42, "a key function must return str, bytes, Client or None, not int"),
        (lambda scope: True, "not bool"),
        (lambda scope: ("alice", "pro"), "not tuple"),
        (lambda scope: Client("alice", cost=0), "cost"),
        (lambda scope: Client("alice", cost=10**13), "cost"),
        (lambda scope: Client(object()), "the key of a client must be str, bytes or None"),  # type: ignore[arg-type]  # the mistake
        (lambda scope: Client("alice", 7), "the tier of a client must be str or None"),  # type: ignore[arg-type]  # the mistake
    ],
)
async def test_a_key_function_that_fails_lifts_no_limit_and_is_logged_once(
    app: App, asking: Asking, governor: Governor, caplog: pytest.LogCaptureFixture, key: Any, why: str
) -> None:
    ask = asking(TrafficControlMiddleware(app, governor, key=key))
    answers = [(await ask(headers=[ANN])).status for _ in range(4)]
    others = (await ask(headers=[(b"x-actor", b"bob")])).status

    assert ([200, 200, 429, 429], 200) == (answers, others)
    assert [(logging.ERROR, True, False)] == [
        (record.levelno, why in record.getMessage(), ADDRESS in record.getMessage()) for record in caplog.records
    ]


@pytest.mark.promise("R21", "R26")
@pytest.mark.parametrize("unknown", ["", b"", Client(), Client("")])
async def test_an_empty_key_stands_for_what_headers_and_address_say(
    app: App, asking: Asking, governor: Governor, unknown: Any
) -> None:
    ask = asking(TrafficControlMiddleware(app, governor, key=lambda scope: unknown))

    assert [200, 200, 429] == [(await ask(headers=[ANN])).status for _ in range(3)]
    assert 200 == (await ask()).status


@pytest.mark.promise("R21", "R26")
async def test_a_cost_spends_more_and_one_that_no_limit_holds_is_always_denied(
    app: App, asking: Asking, configured: Configured
) -> None:
    async with running(configured, {"limits": ["1/s burst 5"]}) as governor:
        ask = asking(TrafficControlMiddleware(app, governor, key=lambda scope: Client("a", cost=scope["cost"])))
        replies = [await ask(cost=cost) for cost in (6, 3, 3, 2, 1)]

    assert [429, 200, 429, 200, 429] == [reply.status for reply in replies]
    assert ["cost_exceeds_capacity", "rate_limit_exceeded"] == [replies[place].problem["error"] for place in (0, 2)]
    assert ["5", "1"] == [replies[place].headers["retry-after"] for place in (0, 2)]


TIERS: Mapping[str, object] = {"tiers": {"pro": {"limits": ["1/s burst 4"]}, "free": {"limits": ["1/s burst 1"]}}}


@pytest.mark.promise("R21", "R26")
async def test_a_tier_has_its_own_limits_and_one_that_there_is_not_has_those_of_the_group(
    app: App, asking: Asking, configured: Configured, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(
        configured, TIERS, shop={"paths": ["/shop"], "tiers": {"free": {"limits": ["1/s burst 3"]}}}
    ) as governor:
        ask = asking(TrafficControlMiddleware(app, governor, key=lambda scope: Client("a", tier=scope["tier"])))
        got = {
            (path, tier): [(await ask(path, tier=tier)).status for _ in range(6)].count(200)
            for path in ("/", "/shop")
            for tier in ("pro", "free", None, "gold")
        }
        # What a client may have invented, and no daemon could read: it fails for all requests that are sent with it.
        controller = AdmissionController(governor, has_key=True)
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": ("192.0.2.1", 1)}
        sent = [controller.request(None, scope, Client("a", tier)).tier for tier in ("gold", "x" * 101, "\udcff")]

    assert ["gold", None, None] == sent
    assert {"/": [4, 1, 2, 0], "/shop": [4, 3, 2, 0]} == {
        path: [count for (where, _), count in got.items() if where == path] for path in ("/", "/shop")
    }
    assert 2 == len([record for record in caplog.records if "returned a tier that" in record.getMessage()])


@pytest.mark.promise("R53", "R21")
async def test_tiers_that_no_client_can_have_are_warned_of(
    app: App, asking: Asking, configured: Configured, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(configured, TIERS) as governor:
        for _ in range(3):
            await asking(TrafficControlMiddleware(app, governor, key=user))()
        silent = len(caplog.records)
        ask = asking(TrafficControlMiddleware(app, governor))
        for _ in range(3):
            await ask()

    assert (0, ["The tiers of agents"]) == (silent, [record.getMessage().partition(",")[0] for record in caplog.records])


def test_what_is_no_function_or_no_governor_is_rejected_by_name(app: App) -> None:
    with pytest.raises(UsageError, match="`key` must be a function"):
        TrafficControlMiddleware(app, key="x-user")  # type: ignore[arg-type]  # the mistake
    made: tuple[Callable[..., object], ...] = (TrafficControlMiddleware, TrafficControlWSGIMiddleware)
    for make in made:
        with pytest.raises(ConfigError, match=r"governor is 'governor\.toml'; expected a Governor, or None"):
            make(app, "governor.toml")


@pytest.mark.parametrize("cost", [0, -1, True, 1.5, "2"])
def test_an_invalid_cost_is_rejected_by_name(cost: Any) -> None:
    with pytest.raises((ConfigError, GovernorError), match="cost"):
        Client("a", cost=cost)


# Routes.

EXPORT: Mapping[str, object] = {
    "paths": ["/users/{id}/export", "/files/"],
    "methods": ["POST", "GET"],
    "limits": ["1/day burst 1"],
    "name": "export",
}


@pytest.mark.promise("R22", "R27")
async def test_a_route_has_a_limit_for_each_client_beside_those_of_its_group(
    app: App, asking: Asking, configured: Configured
) -> None:
    async with running(configured, {"limits": ["1/day burst 3"], "routes": [EXPORT]}) as governor:
        ask = asking(TrafficControlMiddleware(app, governor))

        async def statuses(*asks: tuple[str, str], actor: bytes) -> list[int]:
            return [(await ask(path, method=method, headers=[(b"x-actor", actor)])).status for method, path in asks]

        one_limit = await statuses(("GET", "/users/1/export"), ("GET", "/users/2/export"), ("GET", "/users/2"), actor=b"ann")
        heads = await statuses(("POST", "/files/a/b"), ("HEAD", "/Files"), ("PUT", "/files"), actor=b"bob")
        group = await statuses(("PUT", "/users/1/export"), *[("GET", "/users")] * 2, ("GET", "/files"), actor=b"eve")
        reply = await ask("/users//7/%65xport", method="GET", headers=[ANN])
        figures = governor.statistics().groups["default"].denied_by

    assert ([200, 429, 200], [200, 429, 200], [200, 200, 200, 429]) == (one_limit, heads, group)
    assert ("export", ["export"], "Too many requests of this client for this route in default; try again in 86400 s.") == (
        reply.headers["ratelimit"].split('"')[1],
        reply.problem["violated-policies"],
        reply.problem["message"],
    )
    assert {"client": 1, "address": 0, "total": 0, "route": 3} == figures


@pytest.mark.promise("R25", "R22")
async def test_the_handshake_of_a_websocket_is_a_get(app: App, asking: Asking, configured: Configured) -> None:
    route = {"paths": ["/talk"], "methods": ["GET"], "limits": ["1/day burst 1"]}
    async with running(configured, {"routes": [route]}) as governor:
        ask = asking(TrafficControlMiddleware(app, governor))

        assert ["websocket.accept", "websocket.close"] == [(await ask("/talk", kind="websocket")).kinds[0] for _ in range(2)]


@pytest.mark.promise("R22", "R27")
async def test_every_limit_of_every_route_that_matches_holds(app: App, asking: Asking, configured: Configured) -> None:
    routes = [
        {"paths": ["/a/{rest:path}"], "limits": ["1/day burst 2"], "name": "any"},
        {"paths": ["/a/b", "/a/{id:int}"], "limits": ["1/day burst 1"], "name": "one"},
    ]
    async with running(configured, {"limits": [], "routes": routes}) as governor:
        ask = asking(TrafficControlMiddleware(app, governor))
        replies = [await ask(path) for path in ("/a/b", "/a/7", "/a/b/c", "/a/x", "/a")]

    assert [None, "one", None, "any", None] == [
        reply.problem["violated-policies"][0] if reply.status == 429 else None for reply in replies
    ]


# Limits of every kind.


@pytest.mark.promise("R22", "R27")
@pytest.mark.parametrize("kind", ["limits", "address_limits", "total_limits"])
async def test_a_strict_window_holds_in_every_window(app: App, asking: Asking, configured: Configured, kind: str) -> None:
    clock = ManualClock()
    config = configured({"limits": [], kind: ["3 per minute strict"]})
    async with Governor(config, clock=clock) as governor:
        ask = asking(TrafficControlMiddleware(app, governor))
        first = [(await ask()).status for _ in range(2)]
        clock.advance(40)
        second = [await ask() for _ in range(2)]
        clock.advance(20 - 1e-6)
        early = (await ask()).status
        clock.advance(1e-6)
        third = [(await ask()).status for _ in range(3)]

    assert ([200, 200], [200, 429], 429, [200, 200, 429]) == (first, [reply.status for reply in second], early, third)
    assert (True, "20") == ("q=3;w=60" in second[1].headers["ratelimit-policy"], second[1].headers["retry-after"])


class Held:
    """An application whose answers wait until they are let go, or fail."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = anyio.Event()
        self.error: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await self.go.wait()
        if self.error:
            raise self.error
        await send({"type": "http.response.body", "body": b""})


@pytest.mark.promise("R22", "R27")
@pytest.mark.parametrize("kind", ["limits", "address_limits", "total_limits", "routes"])
@pytest.mark.parametrize("end", ["answered", "fails", "cancelled"])
async def test_requests_in_flight_come_back_however_they_end(
    asking: Asking, configured: Configured, kind: str, end: str
) -> None:
    limits = ["2 in flight"]
    said: Mapping[str, object] = (
        {"limits": [], "routes": [{"paths": ["/x"], "limits": limits}]} if kind == "routes" else {"limits": [], kind: limits}
    )
    held = Held()
    denied: list[Any] = []
    async with running(configured, said) as governor:
        ask = asking(TrafficControlMiddleware(held, governor))
        for round_ in range(1, 4):

            async def one() -> None:
                try:
                    await ask("/x")
                except OSError:
                    pass

            held.go = anyio.Event()
            held.error = OSError() if end == "fails" else None
            async with anyio.create_task_group() as tasks:
                for _ in range(2):
                    tasks.start_soon(one)
                await anyio.wait_all_tasks_blocked()
                denied += [await ask("/x"), await ask("/x")]
                if end == "cancelled":
                    tasks.cancel_scope.cancel()
                held.go.set()
            assert 2 * round_ == held.begun
        actor = governor.inbound._actor("default")
        assert actor is not None
        left = (
            actor._held,
            [len(table) for said, table in actor._tables.items() if said.limit.__class__.__name__ == "InFlight"],
        )

    assert [429] * 6 == [reply.status for reply in denied]
    assert ("concurrency_exceeded", "1", True) == (
        denied[0].problem["error"],
        denied[0].headers["retry-after"],
        'q=2;qu="concurrent-requests"' in denied[0].headers["ratelimit-policy"],
    )
    assert ({}, [0]) == left


@pytest.mark.promise("R22")
async def test_a_change_of_the_settings_loses_no_request_in_flight(asking: Asking, configured: Configured) -> None:
    held = Held()
    async with running(configured, {"limits": ["2 in flight"]}) as governor, anyio.create_task_group() as tasks:
        ask = asking(TrafficControlMiddleware(held, governor))
        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        governor.reconfigure(configured({"limits": ["1 in flight", "9/s"]}))
        fewer = (await ask()).status
        governor.reconfigure(configured({"limits": []}))
        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        governor.reconfigure(configured({"limits": ["1 in flight"]}))
        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        full = (await ask()).status
        held.go.set()
        await anyio.wait_all_tasks_blocked()
        after = (await ask()).status
        actor = governor.inbound._actor("default")
        assert actor is not None

        assert (429, 429, 200, {}) == (fewer, full, after, actor._held)


@pytest.mark.promise("R23", "R25")
@pytest.mark.parametrize(
    ("headers", "spends"),
    [
        ([(b"origin", b"https://a.example"), (b"access-control-request-method", b"POST")], False),
        ([(b"origin", b"https://a.example")], True),
        ([(b"access-control-request-method", b"POST")], True),
    ],
)
async def test_what_browsers_ask_by_themselves_spends_nothing(
    asking: Asking, governor: Governor, app: App, headers: Any, spends: bool
) -> None:
    ask = asking(TrafficControlMiddleware(app, governor))
    await ask(method="OPTIONS", headers=headers)
    await ask(method="POST", headers=headers)

    assert 1 + spends == governor.statistics().groups["default"].counters.requests
