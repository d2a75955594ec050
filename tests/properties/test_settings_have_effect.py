"""Settings that are accepted have an effect: calls meet each limit, requests reach each path, each variable says something."""

from collections.abc import Callable, Mapping

import anyio
import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from governor import Config, ConfigError, Governor, InboundRequest, Permit
from governor.config import GlobalSettings, InboundSettings, LoggingSettings, MachineSettings
from governor.config.paths import Paths, normal_form
from governor.config.schema import write
from governor.testing import ManualClock


def accepted(said: Mapping[str, object]) -> Config | None:
    """The configuration, or None if it is rejected, which is right as well."""
    try:
        return Config.from_mapping(said)
    except ConfigError:
        event("rejected")
        return None


AMOUNTS = st.integers(1, 9)
UNITS = st.sampled_from(
    [
        *(
            "",
            "req",
            "reqs",
            "Request",
            "requests",
            "call",
            "calls",
            "hits",
            "query",
            "token",
            "tokens",
            "input_token",
            "credits",
        ),
        *("requets", "callls", "toknes", "stars", "data", "cells", "USD", "api_calls"),
    ]
) | st.text("abceqrstu", min_size=1, max_size=9)
#: The unit that a plain call, or one that names its cost in the usual words, spends for each of these.
SPENT_AS = {
    **dict.fromkeys(("", "req", "reqs", "request", "requests", "call", "calls", "hit", "hits", "query", "queries"), "requests"),
    "token": "tokens",
    "input_token": "input_tokens",
}
PERIODS = st.sampled_from(
    ["s", "sec", "second", "10s", "m", "min", "minutes", "hr", "hour", "1h30m", "d", "day", "wk", "week", "month", "fortnight"]
)
FORMS = st.sampled_from(
    [
        *("{} {}/{}", "{} {} / {} burst 3", "{} {} per {} burst 5", "{} {} per {} strict", "{} {}/{} strict"),
        *("{} {} per {}", "{} {} every {}", "{} {} in flight"),
    ]
)
SCOPES = st.sampled_from(["w", "w:get", "w:posts", "w:embeddings", "w:psot", "w:delte", "default"])


@pytest.mark.promise("R19", "R53")
@given(SCOPES, AMOUNTS, UNITS, PERIODS, FORMS)
@example("w", 2, "request", "hour", "{} {} per {} strict")
@example("w", 2, "token", "min", "{} {}/{}")
@example("w:posts", 3, "", "", "{} {} in flight")
def test_calls_meet_every_outbound_limit_that_is_accepted(scope: str, amount: int, unit: str, period: str, form: str) -> None:
    config = accepted({"outbound": {scope: {"limits": [form.format(amount, unit, period)]}}})
    if config is None:
        return
    (limit,) = config.for_scope(scope).limits
    counted = limit.unit

    assert SPENT_AS.get(unit.lower(), unit.lower()) == counted
    assert limit.capacity + 1 == anyio.run(first_denied, config, scope, counted)


async def first_denied(config: Config, scope: str, unit: str) -> int | None:
    """Which of the calls is denied first, if each spends 1 of the unit and none ends."""
    provider, _, method = scope.replace("default", "other").partition(":")
    permits = []
    async with Governor(config, clock=ManualClock()) as governor:
        for number in range(1, 20):
            permit = governor.try_permit(provider, method or None, cost=1 if unit == "requests" else {unit: 1})
            if not isinstance(permit, Permit):
                return number
            permits.append(permit)
    return None


STATUSES = st.lists(st.sampled_from([200, 400, 409, 429, 500, 503, 599, 600]), max_size=4)
METHODS = st.lists(st.sampled_from(["GET", "POST", "PATCH", "post", "PSOT"]), max_size=3)


@pytest.mark.promise("R05", "R19", "R53")
@given(METHODS, STATUSES, STATUSES)
@example(["POST"], [429], [])
@example([], [429, 503], [429, 503])
def test_every_method_and_status_of_the_retries_that_is_accepted_is_retried(
    methods: list[str], statuses: list[int], safe: list[int]
) -> None:
    retry = {"methods": methods, "statuses": statuses, "safe_statuses": safe}
    config = accepted({"outbound": {"w": {"retry": retry, "retry_budget": {"floor": 99}}}})
    if config is None:
        return
    listed, other = anyio.run(retried, config, methods, statuses, [*methods, "LOCK"], safe)

    assert {(method, status) for method in methods for status in statuses} == listed
    assert {(method, status) for method in [*methods, "LOCK"] for status in safe if status in statuses} == other


async def retried(
    config: Config, methods: list[str], statuses: list[int], others: list[str], safe: list[int]
) -> list[set[tuple[str, int]]]:
    """Of the methods with the statuses, and of the others with the safe ones, those after which a call is retried."""
    async with Governor(config, clock=ManualClock()) as governor:
        return [
            {
                (method, status)
                for method in some
                for status in told
                if governor.plan_retry("w", method, attempt=1, status=status, server_wait=1.0)
            }
            for some, told in ((methods, statuses), (others, safe))
        ]


SEGMENTS = st.sampled_from(
    [
        "up",
        "Up",
        "healthCheck",
        "a b",
        "%61",
        "é",
        "..",
        ".",
        "x.",
        "v;a=1",
        "",
        "{id}",
        "<int:id>",
        "*",
        "q?x=1",
        "f#top",
        "api",
    ]
)
PATHS = st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join).map(lambda path: f"/{path}") | SEGMENTS
#: What the path of no request has: templates of frameworks, the query, the fragment.
NO_PATH = frozenset("{}<>*?#")
INBOUND_LIMITS = st.sampled_from(
    ["3/s", "3 req/min burst 2", "4 calls per hr burst 1", "3 per hour", "2 tokens/s", "5 requets/s"]
)


@pytest.mark.promise("R19", "R20", "R23")
@given(PATHS)
@example("/healthz/")
@example("/healthCheck")
@example("/users/{id}/export")
def test_a_request_reaches_every_exempt_path_that_is_accepted(path: str) -> None:
    config = accepted({"inbound": {"exempt_paths": [path]}})
    if config is None:
        return
    paths = Paths(config.inbound, config.inbound_settings.exempt_paths)

    assert not NO_PATH & set(path)
    assert paths.group(path) is None


@pytest.mark.promise("R19", "R20", "R24")
@given(PATHS, INBOUND_LIMITS, st.sampled_from(["limits", "address_limits", "total_limits"]))
@example("/users/{id}/export", "3/s", "limits")
def test_requests_meet_every_inbound_limit_that_is_accepted(path: str, text: str, which: str) -> None:
    none: dict[str, object] = {"limits": [], "address_limits": [], "total_limits": []}
    config = accepted({"inbound": {"talk": {**none, "paths": [path], which: [text]}}})
    if config is None:
        return
    paths = Paths(config.inbound, config.inbound_settings.exempt_paths)
    (limit,) = getattr(config.inbound["talk"], which)
    reached = normal_form(path).rstrip("/")

    assert not NO_PATH & set(reached)
    assert ["talk", "talk"] == [paths.group(reached or "/"), paths.group(f"{reached}/1")]
    assert limit.capacity + 1 == anyio.run(first_turned, config)


async def first_turned(config: Config) -> int | None:
    async with Governor(config, clock=ManualClock()) as governor:
        request = InboundRequest(governor.inbound.pseudonyms.actor(b"ann"), governor.inbound.pseudonyms.address(b"192.0.2.1"))
        for number in range(1, 20):
            if not (await governor.inbound.admit("talk", request)).granted:
                return number
    return None


#: Every setting that has one name, with a value that is not its default.
VARIABLES = st.sampled_from(
    [
        (section, key, value)
        for section, record in (
            ("global", GlobalSettings()),
            ("inbound", InboundSettings()),
            ("logging", LoggingSettings()),
            ("machine", MachineSettings()),
        )
        for key, default in write(record)
        if (value := {"true": "false", "false": "true"}.get(default) or ("7" if default.isdecimal() else None))
    ]
    + [
        ("global", "degraded_cooldown", "7s"),
        ("outbound__weather", "limits", "['7/s']"),
        ("inbound", "exempt_paths", "['/up']"),
    ]
)
CASES = st.sampled_from([str.upper, str.lower, str.title, str.swapcase])
SEPARATORS = st.sampled_from(["_", "__", "___"])


@pytest.mark.promise("R19", "R53")
@given(VARIABLES, CASES, SEPARATORS, SEPARATORS)
@example(("global", "requests_per_minute", "7"), str.upper, "_", "_")
def test_a_variable_in_any_spelling_has_an_effect_or_is_rejected(
    variable: tuple[str, str, str], case: Callable[[str], str], first: str, second: str
) -> None:
    section, key, value = variable
    name = case(f"governor{first}{section.replace('__', second)}{second}{key}")
    try:
        found: Config | str = Config.load(environ={name: value}, env_file=None)
    except ConfigError as mistake:
        found = str(mistake)

    assert name in found if isinstance(found, str) else found != Config.from_mapping({})
