"""Amounts that have no effect are warned of once, and stay a condition in the statistics."""

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor import Config, Denied, Governor, Permit, ScopeStatistics, StrictWindow, TokenBucket
from governor._actors.units import MAX_UNKNOWN_UNITS, PERMITS_WATCHED, UnitWatch
from governor._units import MINUTE
from governor.policies.contract import LimitPolicy
from governor.policies.limits import build
from governor_client import AsyncGovernedTransport

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R03", "R19")]

LIMITS = {
    "llm": ["1000000/s burst 1000000", "1000000 tokens per minute strict"],
    "bucket": ["1000000 tokens/minute"],
    "plain": ["1000000/s burst 1000000"],
    "free": [],
}


@pytest.fixture
async def governor() -> AsyncIterator[Governor]:
    """A governor that lets everything through, and counts tokens in two of its scopes."""
    config = {
        "global": {"requests_per_minute": 1_000_000},
        "outbound": {name: {"limits": limits} for name, limits in LIMITS.items()},
    }
    async with Governor(Config.from_mapping(config)) as governor:
        yield governor


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING and record.name == "governor"]


def _ask(governor: Governor, scope: str, times: int = 1, **options: Any) -> Permit:
    permit: Permit | Denied | None = None
    for _ in range(times):
        permit = governor.try_permit(scope, **options)
    assert isinstance(permit, Permit)
    return permit


def _of(governor: Governor, scope: str) -> ScopeStatistics:
    return governor.statistics().scopes[scope]


@pytest.mark.parametrize(
    ("scope", "unit", "near"),
    [
        ("llm", "total_tokens", "; did you mean 'tokens'?"),
        ("llm", "tokes", "; did you mean 'tokens'?"),
        ("llm", "images", "."),
        ("plain", "tokens", "."),
    ],
)
async def test_a_unit_that_no_limit_counts_is_warned_of_once(
    governor: Governor, caplog: pytest.LogCaptureFixture, scope: str, unit: str, near: str
) -> None:
    for _ in range(3):
        _ask(governor, scope).record(status=200, used={unit: 5000, "requests": 1})

    assert [
        f"{scope}: a call has named {unit!r}, which no limit of the scope counts, so that the amount has no effect{near}"
    ] == _warnings(caplog)
    assert ((unit,), ()) == (_of(governor, scope).unknown_units, _of(governor, scope).uncharged_units)


async def test_so_is_one_in_a_cost_even_if_the_permit_is_denied(governor: Governor, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        assert isinstance(governor.try_permit("llm", cost={"tokens": 10**9, "images": 1}), Denied)
    async with governor.permit("plain", cost={"images": 0}):
        pass

    assert [("images",)] * 2 == [_of(governor, scope).unknown_units for scope in ("llm", "plain")]
    assert 2 == len(_warnings(caplog))


@pytest.mark.parametrize("scope", ["llm", "bucket"])
async def test_a_limit_whose_unit_no_call_names_is_warned_of_once(
    governor: Governor, caplog: pytest.LogCaptureFixture, scope: str
) -> None:
    _ask(governor, scope, PERMITS_WATCHED - 1)
    before = (_warnings(caplog), _of(governor, scope).uncharged_units)
    _ask(governor, scope, 300)

    assert ([], ()) == before
    assert ("tokens",) == _of(governor, scope).uncharged_units
    (warning,) = _warnings(caplog)
    assert warning.startswith(f"{scope}: none of 100 permits has named tokens, which a limit counts")


async def test_a_scope_that_is_asked_through_a_transport_only_is_warned_of(
    governor: Governor, caplog: pytest.LogCaptureFixture
) -> None:
    answers = httpx2.MockTransport(lambda _: httpx2.Response(200))
    async with httpx2.AsyncClient(transport=AsyncGovernedTransport("llm", governor=governor, transport=answers)) as client:
        for number in range(PERMITS_WATCHED):
            await client.post("https://llm.example/", content=f"prompt {chr(ord('a') + number % 26) * (number + 1)}")

    assert ("tokens",) == _of(governor, "llm:post").uncharged_units
    assert [True] == [
        text.endswith("HTTP adapters name requests, tokens, input_tokens and output_tokens.") for text in _warnings(caplog)
    ]


NAMERS: dict[str, Callable[[Governor], object]] = {
    "cost": lambda governor: governor.try_permit("llm", cost={"tokens": 1}),
    "no cost yet": lambda governor: governor.try_permit("llm", cost={"tokens": 0}),
    "used": lambda governor: _ask(governor, "llm").record(status=200, used={"tokens": 7}),
}


@pytest.mark.parametrize("name", NAMERS)
async def test_naming_the_unit_once_is_enough_and_ends_the_condition(
    governor: Governor, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    NAMERS[name](governor)
    _ask(governor, "llm", 300)
    early = _of(governor, "llm").uncharged_units
    _ask(governor, "bucket", 300)
    late = _of(governor, "bucket").uncharged_units
    _ask(governor, "bucket").record(status=200, used={"tokens": 7})

    assert ((), ("tokens",), ()) == (early, late, _of(governor, "bucket").uncharged_units)
    assert 1 == len(_warnings(caplog))


async def test_a_scope_without_limits_and_one_that_counts_requests_only_have_nothing_to_warn_of(
    governor: Governor, caplog: pytest.LogCaptureFixture
) -> None:
    _ask(governor, "free", 300).record(status=200, used={"tokens": 5})
    _ask(governor, "plain", 300)

    assert [] == _warnings(caplog)


async def test_other_limits_begin_anew(governor: Governor, caplog: pytest.LogCaptureFixture) -> None:
    _ask(governor, "plain", 500).record(status=200, used={"images": 1})
    limits = ["1000000/s burst 1000000", "1000000 images/minute", "1000000 tokens/minute"]
    governor.reconfigure(Config.from_mapping({"outbound": {"plain": {"limits": limits}}}))
    changed = _of(governor, "plain")
    _ask(governor, "plain", PERMITS_WATCHED, cost={"images": 1})

    assert ((), ()) == (changed.unknown_units, changed.uncharged_units)
    assert ((), ("tokens",)) == (_of(governor, "plain").unknown_units, _of(governor, "plain").uncharged_units)


async def test_once_nothing_is_watched_permits_are_granted_the_short_way(governor: Governor) -> None:
    scope = _ask(governor, "bucket")._owner
    _ask(governor, "bucket", PERMITS_WATCHED)

    assert scope.grab() is not None  # type: ignore[attr-defined]  # an owner that has one


def _limits(*units: str) -> tuple[LimitPolicy, ...]:
    return tuple(build(StrictWindow(5, MINUTE, unit)) for unit in units)


def test_names_without_end_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    watch = UnitWatch("w")
    watch.follow((build(TokenBucket(1, MINUTE, 1)),), 0)

    for number in range(10_000):
        watch.named([f"{number}" * 1000])

    assert (MAX_UNKNOWN_UNITS, 64) == (len(watch.unknown()), max(map(len, watch.unknown())))
    assert MAX_UNKNOWN_UNITS == len(_warnings(caplog))


@given(
    counted=st.sets(st.sampled_from("abcd")),
    calls=st.lists(st.sets(st.sampled_from("abcdef"), max_size=2), max_size=250),
)
def test_a_unit_is_uncharged_if_no_call_named_it_when_there_were_enough(counted: set[str], calls: list[set[str]]) -> None:
    watch = UnitWatch("w")
    watch.follow(_limits("requests", *counted), 0)
    for number, call in enumerate(calls, 1):
        watch.named(call)
        watch.granted(number)
    named = set().union(*calls)

    assert (counted - named if len(calls) >= PERMITS_WATCHED else set()) == set(watch.uncharged())
    assert named - counted == set(watch.unknown())
