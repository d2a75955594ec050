"""Does somebody on call read what is refused, why, and until when?"""

from collections.abc import Mapping
from typing import Final

import pytest

from governor.daemon.trouble import Rank, headline, troubles
from tests.unit.daemon.statuses import Scope, group, scope, status

NOBODY: Final[Mapping[str, int]] = {}
WAITING: Final = "circuit breaker half-open, all probes out, next probe when one of them ends"


def told(scopes: Mapping[str, Scope], recent: Mapping[str, Mapping[str, int]] | None = None, **options: float) -> list[str]:
    known = recent or {}
    return [trouble.sentence() for trouble in troubles(status(scopes, **options), lambda key: known.get(key, {}))]  # type: ignore[arg-type]


@pytest.mark.promise("R10", "R30")
@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (scope("circuit_breaker_open", 41.2, breaker="open", probes_in=41.2), "refuses: circuit breaker open, probes in 42 s"),
        (scope("circuit_breaker_open", 1.0, breaker="half_open"), f"refuses: {WAITING}"),
        (
            scope("circuit_breaker_open", 1.0),
            "refuses: circuit breaker closed again, calls ramp up, next permit when one of them is answered",
        ),
        (scope("rate_limit_exceeded", 3.0), "refuses: rate limit used up, next permit in 3 s"),
        (scope("rate_limit_exceeded", 0.2, waiting=7), "refuses: rate limit used up, 7 waiting, next permit in 1 s"),
        (scope("concurrency_exceeded", 1.0), "refuses: all calls in flight, next permit when a call ends"),
        (scope("cost_exceeds_capacity"), "refuses: cost exceeds capacity, waiting cannot help"),
        (scope("overloaded", 60.0), "refuses: overloaded, goes on in 60 s"),
        (scope("shutting_down"), "refuses: shutting down, waiting cannot help"),
        (scope("loop_detected", 130.0), "refuses: loop detected, goes on in 2 min 10 s"),
        (scope(breaker="open"), "has its circuit breaker open, the next call is a probe"),
        (scope(breaker="half_open"), "has its circuit breaker half-open, probes decide"),
    ],
)
def test_a_scope_says_why_it_refuses_and_until_when(state: Scope, sentence: str) -> None:
    assert [f"github:get {sentence}"] == told({"outbound:github:get": state})


def test_a_limit_that_is_met_for_a_moment_is_no_trouble_unless_somebody_is_refused() -> None:
    scopes = {"outbound:busy": scope("rate_limit_exceeded", 0.2)}

    assert [] == told(scopes)
    assert ["busy refuses: rate limit used up, next permit in 1 s"] == told(
        scopes, {"outbound:busy": {"rate_limit_exceeded": 4}}
    )


def test_what_was_refused_lately_and_is_granted_again_is_worth_a_look() -> None:
    found = troubles(status({"outbound:busy": scope()}), lambda key: {"rate_limit_exceeded": 4})

    assert [(Rank.WATCHED, "busy has refused lately: rate limit used up, grants again", 4)] == [
        (trouble.rank, trouble.sentence(), trouble.recent) for trouble in found
    ]


@pytest.mark.promise("R08", "R30")
def test_degraded_mode_is_told_once_and_not_scope_by_scope() -> None:
    scopes = {f"outbound:service{number}": scope("degraded_mode_active", 42.0) for number in range(3)}

    assert ["Degraded mode refuses all outbound traffic, goes on in 42 s"] == told(scopes, degraded_for=42.0)


@pytest.mark.promise("R08", "R30")
def test_degraded_mode_does_not_stop_exempt_providers_and_says_so() -> None:
    scopes = {"outbound:one": scope("degraded_mode_active", 42.0), "outbound:exempt": scope()}

    assert ["Degraded mode refuses all outbound traffic, but for exempt providers, goes on in 42 s"] == told(
        scopes, degraded_for=42.0
    )


@pytest.mark.promise("R08", "R30")
def test_degraded_mode_names_what_began_it_and_who() -> None:
    by_failures = troubles(status(degraded_for=42.0, cause="failures", providers=("github", "reddit")))
    by_cap = troubles(status(degraded_for=42.0, cause="cap"))

    assert [
        "Degraded mode refuses all outbound traffic, after failures in a row of github, reddit, goes on in 42 s",
        "Degraded mode refuses all outbound traffic, after too many requests over the cap, goes on in 42 s",
    ] == [trouble.sentence() for trouble in (*by_failures, *by_cap)]


@pytest.mark.promise("R07", "R30")
def test_the_cap_is_worth_a_look_when_more_than_four_fifths_are_used() -> None:
    found = [[trouble.sentence() for trouble in troubles(status(last_minute=used))] for used in (800, 801)]

    assert [[], ["The global request cap is nearly used up: 801 of 1,000 in the last minute"]] == found
    assert "Nothing is refused right now" == headline(troubles(status(last_minute=801)))


@pytest.mark.promise("R07", "R30")
def test_the_cap_is_told_once_with_the_earliest_way_out() -> None:
    scopes = {f"outbound:{wait}": scope("global_request_cap_exceeded", float(wait)) for wait in (9, 4)}

    assert [
        "The global request cap refuses all outbound traffic: 1,000 of 1,000 in the last minute, next permit in 4 s"
    ] == told(scopes, last_minute=1000)


def test_a_group_says_how_many_it_turned_away_and_who_is_loudest() -> None:
    scopes = {"inbound:chat": group(most_denied={"actor-3f09c1d2a4": 132, "session-1": 2})}

    assert ["chat turns callers away: 41 in the last 10 s, most often actor-3f09c1d2a4"] == told(
        scopes, {"inbound:chat": {"rate_limit_exceeded": 41}}
    )
    assert [] == told(scopes)


@pytest.mark.parametrize(("dry_run", "verb"), [(False, "has"), (True, "would have")])
def test_after_a_single_look_the_loudest_callers_tell_what_a_group_has_refused(dry_run: bool, verb: str) -> None:
    scopes = {"inbound:chat": group(most_denied={"actor-3f09c1d2a4": 132}, dry_run=dry_run), "inbound:quiet": group()}

    assert [f"chat {verb} turned callers away lately, most often actor-3f09c1d2a4"] == [
        trouble.sentence() for trouble in troubles(status(scopes))
    ]


def test_the_worst_comes_first() -> None:
    scopes: dict[str, Scope] = {
        "inbound:chat": group(),
        "outbound:a-probing": scope(breaker="half_open"),
        "outbound:b-limited": scope("rate_limit_exceeded", 3.0),
        "outbound:c-busier": scope("rate_limit_exceeded", 3.0),
        "outbound:d-open": scope("circuit_breaker_open", 9.0, breaker="open", probes_in=9.0),
    }
    recent = {"inbound:chat": {"rate_limit_exceeded": 2}, "outbound:c-busier": {"rate_limit_exceeded": 5}}
    found = troubles(status(scopes, degraded_for=1.0), lambda key: recent.get(key, NOBODY))

    assert ["", "outbound:d-open", "outbound:c-busier", "inbound:chat", "outbound:b-limited", "outbound:a-probing"] == [
        trouble.key for trouble in found
    ]


@pytest.mark.parametrize(
    ("scopes", "degraded_for", "said"),
    [
        ({}, 0.0, "Nothing is refused"),
        ({"outbound:a": scope(breaker="half_open")}, 0.0, "Nothing is refused right now"),
        ({"outbound:a": scope("overloaded", 1.0)}, 0.0, "1 scope refuses"),
        ({"outbound:a": scope("overloaded", 1.0), "outbound:b": scope("overloaded", 1.0)}, 0.0, "2 scopes refuse"),
        ({"inbound:a": group(most_denied={"x": 1})}, 0.0, "1 group turns callers away"),
        (
            {"inbound:a": group(), "inbound:b": group(), "outbound:c": scope("overloaded")},
            0.0,
            "1 scope refuses, 2 groups turn callers away",
        ),
        ({"outbound:a": scope("overloaded", 1.0)}, 5.0, "Outbound traffic is paused"),
    ],
)
def test_the_headline_says_how_bad_it_is(scopes: Mapping[str, Scope], degraded_for: float, said: str) -> None:
    inbound = {"rate_limit_exceeded": 1}
    found = troubles(status(scopes, degraded_for=degraded_for), lambda key: inbound if key.startswith("inbound") else {})

    assert said == headline(found)
