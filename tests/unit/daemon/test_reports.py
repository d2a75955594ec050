"""The documents say what the governor counted, and sums are true."""

from collections.abc import Mapping
from typing import cast

import anyio
import msgspec
import pytest

from governor import Config, Denied, Governor, Permit, ScopeStatistics, Statistics
from governor.daemon import reports
from governor.daemon.documents import GroupReport, ScopeReport, Status
from governor.messages import InboundRequest
from governor.policies.degraded import Cause
from governor.statistics import COUNTS, GroupStatistics
from governor.testing import ManualClock
from tests.unit.daemon.statuses import status_of as document_of

pytestmark = pytest.mark.anyio

SECTIONS = {
    "github": {"limits": ["100/minute burst 10", "20 in flight"], "breaker": {"failures": 3, "open_for": "60s"}},
    "github:post": {"limits": ["4 per hour strict"]},
    "weather": {"limits": []},
}
GROUPS = {"shop": {"paths": ["/shop"], "limits": ["60/minute burst 2"], "total_limits": ["60/minute burst 8"]}}


def governed(clock: ManualClock, **global_: object) -> Governor:
    said = {"outbound": SECTIONS, "inbound": GROUPS, "global": global_}
    return Governor(Config.from_mapping(said), clock=clock)


def ask(governor: Governor, provider: str, method: str | None, *statuses: int | None) -> None:
    """One granted permit for each status; None breaks off."""
    for status in statuses:
        permit = governor.try_permit(provider, method)
        assert isinstance(permit, Permit), permit
        permit.record(status=status, error=OSError() if status is None else None)


def visit(governor: Governor, *statuses: int) -> None:
    """One request of one caller to the group `shop` for each status; 429 stands for one that the group denies."""
    group = governor.inbound._actor("shop")
    assert group is not None
    for status in statuses:
        turned = group.admit(InboundRequest(b"a" + b"1" * 15, b"i" + b"1" * 15))
        assert (status == 429) == (turned is not None)
        if turned is None:
            group.ended(status)


def status_of(governor: Governor, statistics: Statistics | None = None) -> Status:
    return document_of(statistics or governor.statistics())


def report_of(governor: Governor, name: str) -> ScopeReport | GroupReport | None:
    return reports.report(governor.statistics(), name)


@pytest.mark.promise("R30", "R32")
async def test_global_counters_are_true_sums_over_everything() -> None:
    async with governed(ManualClock()) as governor:
        ask(governor, "github", "GET", 200, 201, 404, 429)
        ask(governor, "weather", None, 500, 200, 302)
        visit(governor, 200, 503, 429)
        for _ in range(3):
            assert isinstance(governor.try_permit("github", "GET", cost=99), Denied)
        document = status_of(governor)

    total = document.global_
    assert (9, 4, 2, 2, 1) == (total.requests, total.answered_2xx, total.answered_4xx, total.answered_5xx, total.answered_429)
    assert (1, {"cost_exceeds_capacity": 3, "rate_limit_exceeded": 1}) == (total.others, total.denied)
    for field in COUNTS:
        assert sum(getattr(scope.counters, field) for scope in document.scopes.values()) == getattr(total, field)


@pytest.mark.promise("R30")
async def test_a_group_that_is_gone_stays_in_the_sum() -> None:
    async with governed(ManualClock()) as governor:
        visit(governor, 200, 200)
        governor.reconfigure(Config.from_mapping({"inbound": {"other": {"paths": ["/other"]}}}))
        document = status_of(governor)

    assert "inbound:shop" not in document.scopes
    assert (2, 2) == (document.global_.requests, document.global_.answered_2xx)


@pytest.mark.promise("R30")
async def test_a_forgotten_scope_stays_in_the_sum() -> None:
    async with governed(clock := ManualClock(), max_scopes=1, idle_after="1us") as governor:
        ask(governor, "weather", "GET", 200)
        clock.advance(3600)
        while isinstance(governor.try_permit("traffic", "GET"), Denied):  # noqa: ASYNC110 - until the scope is at rest
            await anyio.sleep(0.001)
        document = status_of(governor)

    assert ["traffic:get"] == document.outbound_scopes
    assert 2 == document.global_.requests


@pytest.mark.promise("R30")
async def test_sums_are_true_whatever_happens_between_two_steps() -> None:
    async with governed(ManualClock()) as governor:
        for number in range(50):
            ask(governor, f"scope{number:02}", "GET", 200)
        visit(governor, 200)
        survey = governor._access.supervised().survey()
        assert next(survey) is None
        governor.reconfigure(Config.from_mapping({"outbound": SECTIONS}))
        ask(governor, "scope00", "GET", 200)
        ask(governor, "scope49", "GET", 200)
        ask(governor, "newcomer", "GET", 200)
        statistics = next(record for record in survey if record is not None)
        document = status_of(governor, statistics)

    assert 52 == document.global_.requests
    assert 52 == sum(scope.counters.requests for scope in document.scopes.values())


@pytest.mark.promise("R30", "R32")
async def test_an_outbound_scope_shows_counters_limits_and_breaker() -> None:
    async with governed(clock := ManualClock()) as governor:
        ask(governor, "github", "GET", 200, 500, 500, 500)
        clock.advance(20)
        assert isinstance(governor.try_permit("github", "GET"), Denied)
        document = status_of(governor)

    scope = document.scopes["outbound:github:get"]
    assert isinstance(scope, ScopeStatistics)
    assert (4, 1, 3, 1) == (
        scope.counters.requests,
        scope.counters.answered_2xx,
        scope.counters.answered_5xx,
        scope.counters.openings,
    )
    assert {"circuit_breaker_open": 1} == scope.counters.denied
    assert ["100/minute burst 10", "20 in flight"] == [limit.limit for limit in scope.limits]
    breaker = scope.breaker
    assert ("open", 40.0) == (breaker.status, breaker.probes_in)
    assert document.global_.now - 20 == pytest.approx(breaker.last_failure_at, abs=1)
    assert scope.last_failure is not None
    assert (500, None) == (scope.last_failure.status, scope.last_failure.error)
    assert scope.denial is not None
    assert ("circuit_breaker_open", 40.0) == (scope.denial.reason, scope.denial.retry_after)


@pytest.mark.promise("R32")
async def test_the_rate_limit_is_that_of_which_the_smallest_share_is_left() -> None:
    async with governed(ManualClock()) as governor:
        permits = [governor.try_permit("github", "GET") for _ in range(9)]
        spent = status_of(governor).scopes["outbound:github:get"].scarcest
        for permit in permits:
            assert isinstance(permit, Permit)
            permit.record(status=200)
        ask(governor, "weather", None, 200)
        unlimited = status_of(governor).scopes["outbound:weather"].scarcest

    assert spent is not None
    assert (1, 10) == (spent.available, spent.capacity)
    assert unlimited is None


@pytest.mark.promise("R08", "R30")
async def test_degraded_mode_says_until_when() -> None:
    async with governed(clock := ManualClock(), degraded_after_failures=3) as governor:
        before = status_of(governor).global_
        ask(governor, "weather", None, 500, 500)
        ask(governor, "traffic", None, None)
        clock.advance(15)
        during = status_of(governor).global_

    assert (False, None, 0.0) == (before.degraded_mode_active, before.degraded_until_ts, before.degraded_for)
    assert (True, during.now + 45, 45.0, 1) == (
        during.degraded_mode_active,
        during.degraded_until_ts,
        during.degraded_for,
        during.degraded_spells,
    )
    assert (None, (), Cause.FAILURES, ("weather", "traffic")) == (
        before.degraded_cause,
        before.degraded_providers,
        during.degraded_cause,
        during.degraded_providers,
    )


@pytest.mark.promise("R30", "R33")
async def test_a_group_shows_its_top_clients_by_pseudonym() -> None:
    async with governed(ManualClock()) as governor:
        visit(governor, 200, 200, 429, 429, 429)
        group = status_of(governor).scopes["inbound:shop"]

    assert isinstance(group, GroupStatistics)
    assert (2, 3, 0, 0) == (
        group.counters.requests,
        group.denied_by["client"],
        group.denied_by["address"],
        group.denied_by["total"],
    )
    assert [("actor-31313131", 3)] == [(visitor.client[:14], visitor.denied) for visitor in group.most_denied]
    assert [("60/minute burst 8", 6)] == [(limit.limit, limit.available) for limit in group.totals]
    assert ["60/minute burst 2"] == [limit.limit for limit in group.limits]


@pytest.mark.promise("R30")
async def test_the_document_has_the_names_that_the_front_end_reads() -> None:
    async with governed(ManualClock()) as governor:
        ask(governor, "github", "GET", 200)
        document = cast(
            "Mapping[str, Mapping[str, Mapping[str, Mapping[str, object]]]]", msgspec.to_builtins(status_of(governor))
        )

    totals = {"total_requests", "total_2xx", "total_4xx", "total_5xx", "total_429", "total_retries"}
    assert {"status", "global", "outbound_scopes", "inbound_scopes", "scopes"} <= set(document)
    assert totals | {"requests_last_minute", "degraded_mode_active", "degraded_until_ts"} <= set(document["global"])
    scope, group = document["scopes"]["outbound:github:get"], document["scopes"]["inbound:shop"]
    assert totals | {"total_circuit_open"} <= set(scope["metrics"])
    assert totals | {"total_circuit_open"} <= set(group["metrics"])
    for one in (scope, group):
        assert {"available_tokens", "capacity", "refill_rate"} <= set(one["rate_limit"])
    breaker = {"state", "failure_count", "success_count", "half_open_calls", "last_failure_time"}
    assert breaker <= set(scope["circuit_breaker"])


# One scope, or those of a provider.


@pytest.mark.promise("R31")
@pytest.mark.parametrize("name", ["github:get", "outbound:github:get"])
async def test_a_scope_is_found_with_and_without_its_direction(name: str) -> None:
    async with governed(ManualClock()) as governor:
        ask(governor, "github", "GET", 200)
        report = report_of(governor, name)

    assert isinstance(report, ScopeReport)
    assert ("outbound:github:get", 1, msgspec.UNSET) == (report.scope, report.counters.requests, report.aggregated_from)


@pytest.mark.promise("R31")
async def test_a_bare_provider_is_the_sum_of_its_scopes() -> None:
    async with governed(ManualClock()) as governor:
        ask(governor, "github", "GET", 200, 404)
        ask(governor, "github", "POST", 500, 500, 500)
        ask(governor, "githubby", "GET", 200)
        assert isinstance(governor.try_permit("github", "POST"), Denied)
        report = report_of(governor, "github")

    assert isinstance(report, ScopeReport)
    assert ("outbound:github", ["outbound:github:get", "outbound:github:post"]) == (report.scope, report.aggregated_from)
    metrics = report.counters
    assert (5, 1, 1, 3, 1) == (
        metrics.requests,
        metrics.answered_2xx,
        metrics.answered_4xx,
        metrics.answered_5xx,
        metrics.openings,
    )


@pytest.mark.promise("R31")
async def test_of_a_provider_the_scarcest_limits_the_worst_breaker_and_the_longest_refusal_are_shown() -> None:
    async with governed(ManualClock()) as governor:
        ask(governor, "github", "PUT", 500, 500, 500)
        governor.set_breaker("github:put", open_for="5s")
        ask(governor, "github", "GET", 200)
        ask(governor, "github", "POST", 500, 500, 500)
        report = report_of(governor, "github")

    assert isinstance(report, ScopeReport)
    assert report.scarcest is not None
    assert (1, 4) == (report.scarcest.available, report.scarcest.capacity)
    assert ["4 per hour strict"] == [limit.limit for limit in report.limits]
    assert "open" == report.breaker.status
    assert report.denial is not None
    assert ("circuit_breaker_open", 60.0) == (report.denial.reason, report.denial.retry_after)


@pytest.mark.promise("R31")
async def test_a_scope_without_a_method_alone_is_itself_and_among_others_one_of_them() -> None:
    async with governed(ManualClock()) as governor:
        ask(governor, "weather", None, 200)
        alone = report_of(governor, "weather")
        ask(governor, "weather", "GET", 200)
        among = report_of(governor, "weather")

    assert isinstance(alone, ScopeReport)
    assert isinstance(among, ScopeReport)
    assert (msgspec.UNSET, 1) == (alone.aggregated_from, alone.counters.requests)
    assert (["outbound:weather", "outbound:weather:get"], 2) == (among.aggregated_from, among.counters.requests)


@pytest.mark.promise("R31")
async def test_a_group_is_found_by_its_direction() -> None:
    async with governed(ManualClock()) as governor:
        visit(governor, 200)
        report = report_of(governor, "inbound:shop")

    assert isinstance(report, GroupReport)
    assert ("inbound:shop", 1) == (report.scope, report.counters.requests)


@pytest.mark.promise("R31")
@pytest.mark.parametrize(
    "name", ["git", "github:post", "outbound:shop", "inbound:github:get", "inbound:", "outbound:", "", ":", "github:"]
)
async def test_what_is_no_scope_is_not_found(name: str) -> None:
    async with governed(ManualClock()) as governor:
        ask(governor, "github", "GET", 200)

        assert report_of(governor, name) is None
