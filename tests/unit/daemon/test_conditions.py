"""Conditions say what is wrong, why, until when and who is behind it."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import pytest

from governor import Reason, Statistics
from governor.conditions import Condition, Kind, Severity, conditions, headline, label
from governor.policies.breakers.states import BreakerStatus
from governor.policies.degraded import Cause
from governor.statistics import FailureStatistics, LoopStatistics
from tests.support.tape import given
from tests.unit.daemon.statuses import NOW, Scope, group, scope, statistics, surveys

OPEN, HALF_OPEN = BreakerStatus.OPEN, BreakerStatus.HALF_OPEN
PROBING: Final = "circuit breaker half-open, all probes sent, next probe when one ends"
RAMPING: Final = "circuit breaker closed again, traffic ramps up, next permit when a call is answered"
FAILED: Final = FailureStatistics(at=NOW, status=503)
Recent = Mapping[str, Mapping[Reason, int]]


def found(scopes: Mapping[str, Scope], recent: Recent | None = None, **options: Any) -> tuple[Condition, ...]:
    known = recent or {}
    return conditions(statistics(scopes, **options), lambda key: known.get(key, {}))


def told(scopes: Mapping[str, Scope], recent: Recent | None = None, **options: Any) -> list[str]:
    return [condition.sentence() for condition in found(scopes, recent, **options)]


@pytest.mark.promise("R10", "R30")
@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (scope(Reason.CIRCUIT_OPEN, 41.2, breaker=OPEN), "denies calls: circuit breaker open, probes in 42 s"),
        (
            scope(Reason.CIRCUIT_OPEN, 41.2, breaker=OPEN, last_failure=FAILED),
            "denies calls: circuit breaker open after HTTP 503, probes in 42 s",
        ),
        (
            scope(Reason.CIRCUIT_OPEN, 9.0, breaker=OPEN, last_failure=FailureStatistics(at=NOW, error="ReadTimeout")),
            "denies calls: circuit breaker open after ReadTimeout, probes in 9 s",
        ),
        (scope(Reason.CIRCUIT_OPEN, 1.0, breaker=HALF_OPEN), f"denies calls: {PROBING}"),
        (scope(Reason.CIRCUIT_OPEN, 1.0, ramp_up=3), f"denies calls: {RAMPING}"),
        (scope(Reason.CIRCUIT_OPEN, 41.2), "denies calls: the provider is closed by hand, resumes in 42 s"),
        (scope(Reason.RATE_LIMIT, 3.0), "denies calls: rate limit used up, next permit in 3 s"),
        (scope(Reason.RATE_LIMIT, 0.2, waiting=7), "denies calls: rate limit used up, 7 calls waiting, next permit in 1 s"),
        (scope(Reason.CONCURRENCY, 1.0), "denies calls: all calls in flight, next permit when a call ends"),
        (scope(Reason.COST), "denies calls: cost exceeds capacity, waiting cannot help"),
        (scope(Reason.OVERLOADED, 60.0), "denies calls: overloaded, resumes in 60 s"),
        (scope(Reason.SHUTTING_DOWN), "denies calls: shutting down, waiting cannot help"),
        (scope(Reason.LOOP, 130.0), "denies calls: loop detected, resumes in 2 min 10 s"),
        (scope(breaker=OPEN), "has its circuit breaker open, the next call is a probe"),
        (scope(breaker=HALF_OPEN), "has its circuit breaker half-open, probes decide"),
        (scope(ramp_up=3), "ramps up after its circuit breaker closed: 3 calls at a time, more with each success"),
        (scope(unknown_units=("tokens",)), "got amounts of tokens, which no limit counts"),
        (scope(uncharged_units=("tokens",)), "has a limit on tokens, which no call reports"),
        (
            scope(loops=LoopStatistics(stopped=2, retry_after=41.2, labels=("caller-3f09c1d2a4",))),
            "has stopped 2 loops of caller-3f09c1d2a4: calls repeated with the same answer, one more is tried in 42 s",
        ),
        (scope(dropped={"tokens": 1200}), "used 1,200 tokens above max_debt, which no limit was charged with"),
    ],
)
def test_a_scope_says_what_is_wrong_and_until_when(state: Scope, sentence: str) -> None:
    assert [f"github:get {sentence}"] == told({"outbound:github:get": state})


def test_a_limit_that_is_met_for_a_moment_is_no_condition_unless_calls_are_denied() -> None:
    scopes = {"outbound:busy": scope(Reason.RATE_LIMIT, 0.2)}

    assert [] == told(scopes)
    assert ["busy denies calls: rate limit used up, next permit in 1 s"] == told(
        scopes, {"outbound:busy": {Reason.RATE_LIMIT: 4}}
    )


@pytest.mark.promise("R09")
def test_denials_of_a_loop_are_shown_once_and_as_recent_only_when_it_is_over() -> None:
    stopped = scope(loops=LoopStatistics(stopped=1, retry_after=9.0))
    recent = {"outbound:chat": {Reason.LOOP: 4}}
    (condition,) = found({"outbound:chat": stopped}, recent)
    over = told({"outbound:chat": scope()}, recent)

    assert (Kind.LOOP_STOPPED, Severity.WARNING, 9.0, 4) == (
        condition.kind,
        condition.severity,
        condition.wait,
        condition.recent,
    )
    assert ["chat denied calls recently: loop detected, calls are granted again"] == over


def test_a_scope_that_grants_calls_at_its_limit_is_throttled() -> None:
    (condition,) = found({"outbound:busy": scope()}, {"outbound:busy": {Reason.RATE_LIMIT: 4}})

    assert "busy is throttled: 4 calls denied in the last 10 s, calls within the limit are granted" == condition.sentence()
    assert (Kind.THROTTLED, Severity.INFO, 4) == (condition.kind, condition.severity, condition.recent)
    assert "throttled" == label(condition, scope())


def test_other_denials_of_the_last_seconds_are_named_by_reason() -> None:
    assert ["busy denied calls recently: overloaded, calls are granted again"] == told(
        {"outbound:busy": scope()}, {"outbound:busy": {Reason.OVERLOADED: 4}}
    )


@pytest.mark.promise("R08", "R30")
def test_degraded_mode_is_one_condition_and_not_one_per_scope() -> None:
    scopes = {f"outbound:service{number}": scope(Reason.DEGRADED, 42.0) for number in range(3)}

    assert ["Degraded mode pauses all outbound calls after failures in a row, resumes in 42 s"] == told(
        scopes, degraded_for=42.0
    )


@pytest.mark.promise("R08", "R30")
def test_degraded_mode_says_that_exempt_providers_go_on() -> None:
    scopes = {"outbound:one": scope(Reason.DEGRADED, 42.0), "outbound:exempt": scope()}

    assert [
        "Degraded mode pauses all outbound calls except to exempt providers after failures in a row, resumes in 42 s"
    ] == told(scopes, degraded_for=42.0)


@pytest.mark.promise("R08", "R30")
def test_degraded_mode_names_its_cause_and_its_culprits() -> None:
    (by_failures,) = found({}, degraded_for=42.0, cause=Cause.FAILURES, providers=("github", "reddit"))
    (by_cap,) = found({}, degraded_for=42.0, cause=Cause.CAP)

    assert [
        "Degraded mode pauses all outbound calls after failures in a row, most from github, reddit, resumes in 42 s",
        "Degraded mode pauses all outbound calls after too many requests above the global cap, resumes in 42 s",
    ] == [by_failures.sentence(), by_cap.sentence()]
    assert (("github", "reddit"), NOW + 42.0) == (by_failures.culprits, by_failures.until)


@pytest.mark.promise("R07", "R30")
def test_the_cap_is_a_condition_when_more_than_four_fifths_are_used() -> None:
    assert [] == told({}, last_minute=800)
    assert ["The global request cap is nearly used up: 801 of 1,000 in the last minute"] == told({}, last_minute=801)
    assert "All calls are granted" == headline(found({}, last_minute=801))


@pytest.mark.promise("R07", "R30")
def test_the_cap_is_one_condition_with_the_earliest_next_permit() -> None:
    scopes = {f"outbound:{wait}": scope(Reason.REQUEST_CAP, float(wait)) for wait in (9, 4)}

    assert ["The global request cap denies all outbound calls: 1,000 of 1,000 in the last minute, next permit in 4 s"] == told(
        scopes, last_minute=1000
    )


@pytest.mark.parametrize(
    ("counted", "sentence"),
    [
        ({"set_aside": 1}, "1 scope was set aside: more scopes are in use than max_scopes allows"),
        ({"events_dropped": 3}, "Hooks missed 3 events: they came faster than a hook took them"),
        ({"hooks_failed": 1}, "Hooks failed 1 time: the log of the program has the first error"),
    ],
)
def test_what_was_lost_is_a_condition_of_the_whole_governor(counted: dict[str, Any], sentence: str) -> None:
    assert [sentence] == told({}, **counted)


def test_a_group_says_how_many_requests_it_denied_and_to_whom() -> None:
    scopes = {"inbound:chat": group(most_denied={"actor-3f09c1d2a4": 132, "session-1": 2})}

    assert ["chat denies clients: 41 requests in the last 10 s, most often actor-3f09c1d2a4"] == told(
        scopes, {"inbound:chat": {Reason.RATE_LIMIT: 41}}
    )
    assert [] == told(scopes)


@pytest.mark.parametrize(
    ("dry_run", "said"), [(False, "denied clients recently"), (True, "would have denied clients recently (dry run)")]
)
def test_after_a_single_reading_a_group_names_the_most_denied_client(dry_run: bool, said: str) -> None:
    scopes = {"inbound:chat": group(most_denied={"actor-3f09c1d2a4": 132}, dry_run=dry_run), "inbound:quiet": group()}

    assert [f"chat {said}, most often actor-3f09c1d2a4"] == [one.sentence() for one in conditions(statistics(scopes))]


def test_requests_that_no_limit_was_asked_about_are_a_condition() -> None:
    assert ["chat admitted 3 requests unchecked: the governor did not answer in time"] == told(
        {"inbound:chat": group(unenforced=3), "inbound:dry": group(unenforced=3, dry_run=True)}
    )


def test_the_worst_condition_comes_first() -> None:
    scopes: dict[str, Scope] = {
        "inbound:chat": group(),
        "outbound:a-probing": scope(breaker=HALF_OPEN),
        "outbound:b-limited": scope(Reason.RATE_LIMIT, 3.0),
        "outbound:c-busier": scope(Reason.RATE_LIMIT, 3.0),
        "outbound:d-open": scope(Reason.CIRCUIT_OPEN, 9.0, breaker=OPEN),
    }
    recent = {"inbound:chat": {Reason.RATE_LIMIT: 2}, "outbound:c-busier": {Reason.RATE_LIMIT: 5}}

    assert ["", "outbound:d-open", "outbound:c-busier", "inbound:chat", "outbound:b-limited", "outbound:a-probing"] == [
        condition.key for condition in found(scopes, recent, degraded_for=1.0)
    ]


@pytest.mark.parametrize(
    ("scopes", "degraded_for", "said"),
    [
        ({}, 0.0, "All calls are granted"),
        ({"outbound:a": scope(breaker=HALF_OPEN)}, 0.0, "All calls are granted"),
        ({"outbound:a": scope(Reason.OVERLOADED, 1.0)}, 0.0, "1 scope denies calls"),
        (
            {"outbound:a": scope(Reason.OVERLOADED, 1.0), "outbound:b": scope(Reason.OVERLOADED, 1.0)},
            0.0,
            "2 scopes deny calls",
        ),
        ({"inbound:a": group(most_denied={"x": 1})}, 0.0, "1 group denies clients"),
        (
            {"inbound:a": group(), "inbound:b": group(), "outbound:c": scope(Reason.OVERLOADED)},
            0.0,
            "1 scope denies calls, 2 groups deny clients",
        ),
        ({"outbound:a": scope(Reason.OVERLOADED, 1.0)}, 5.0, "Outbound traffic is paused"),
    ],
)
def test_the_headline_says_how_bad_it_is(scopes: Mapping[str, Scope], degraded_for: float, said: str) -> None:
    recent = {key: {Reason.RATE_LIMIT: 1} for key in scopes if key.startswith("inbound")}

    assert said == headline(found(scopes, recent, degraded_for=degraded_for))


@given(surveys)
def test_conditions_survive_the_way_over_the_wire(seen: Statistics) -> None:
    expected = conditions(seen)

    assert expected == msgspec.json.decode(msgspec.json.encode(expected), type=tuple[Condition, ...])
