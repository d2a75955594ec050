"""Limits of a provider in virtual time: what all of its scopes together are granted, and in which order."""

import gc
from collections.abc import Iterable, Mapping

import anyio
import pytest

from governor import Config, Denied, Governor, Permit, PermitDenied, Reason
from governor.policies.gcra import TokenBucketPolicy
from governor.policies.in_flight import InFlightPolicy
from governor.policies.windows.window import StrictWindowPolicy
from governor.testing import loop_clock
from tests.simulation.test_crashes import failing
from tests.support.answers import granted
from tests.support.governors import NEVER_REACHED, actor_of

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R14")]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def config(*limits: str, scopes: Mapping[str, Iterable[str]] | None = None, **provider: object) -> Config:
    """`limits` for the provider `hub`, and for its scopes as is said; no other limit."""
    return Config.from_mapping(
        {
            "global": {"requests_per_minute": NEVER_REACHED, "degraded_after_failures": NEVER_REACHED},
            "provider": {"hub": {"limits": limits, **provider}},
            "outbound": {
                "default": {"limits": [], "breaker": {"failures": NEVER_REACHED}},
                **{scope: {"limits": list(own)} for scope, own in (scopes or {}).items()},
            },
        }
    )


def governed(*limits: str, scopes: Mapping[str, Iterable[str]] | None = None, **provider: object) -> Governor:
    return Governor(config(*limits, scopes=scopes, **provider), clock=loop_clock())


class Callers:
    """Tasks that ask in scopes of `hub`: the order and the instants of their grants."""

    def __init__(self, governor: Governor, tasks: anyio.abc.TaskGroup) -> None:
        self._governor = governor
        self._tasks = tasks
        self._began = anyio.current_time()
        self.served: list[tuple[str, float]] = []
        self.denied: list[tuple[str, float | None]] = []

    async def ask(
        self, name: str, method: str, *, cost: int = 1, timeout: float | None = None, hold: float = 0.0
    ) -> anyio.CancelScope:
        """Begins a call, which holds its permit for `hold` seconds. Answers what cancels it."""
        scope = anyio.CancelScope()

        async def call() -> None:
            with scope:
                try:
                    async with self._governor.permit("hub", method, cost=cost, timeout=timeout) as permit:
                        self.served.append((name, round(anyio.current_time() - self._began, 2)))
                        await anyio.sleep(hold)
                        permit.record(status=200)
                except PermitDenied as denial:
                    self.denied.append((name, denial.retry_after and round(denial.retry_after, 2)))

        self._tasks.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        return scope


async def test_a_limit_of_the_provider_lets_its_amount_through_over_all_methods() -> None:
    async with governed("10 per hour strict") as governor:
        answers = [governor.try_permit("hub", method) for _ in range(10) for method in METHODS]
        other = governor.try_permit("lab", "GET")

    assert 10 == sum(isinstance(answer, Permit) for answer in answers)
    assert {Denied(f"hub:{method.lower()}", Reason.RATE_LIMIT, 3600.0) for method in METHODS} == {*answers[10:]}
    granted(other)


async def test_calls_of_all_scopes_are_served_in_the_order_in_which_they_came() -> None:
    async with governed("1 per 1s strict") as governor, anyio.create_task_group() as tasks:
        callers = Callers(governor, tasks)
        for number in range(12):
            await callers.ask(str(number), METHODS[number * number % 5])

    assert [(str(number), number) for number in range(12)] == callers.served


async def test_a_call_that_waits_for_its_own_scope_holds_up_no_other_scope() -> None:
    scopes = {"hub:post": ["1 per 1m strict"]}
    async with governed("5 per 10s strict", scopes=scopes) as governor, anyio.create_task_group() as tasks:
        callers = Callers(governor, tasks)
        for name in ("a", "b"):
            await callers.ask(name, "POST")
        for name in "cdefg":
            await callers.ask(name, "GET")
        tasks.cancel_scope.deadline = anyio.current_time() + 100

    assert [("a", 0), ("c", 0), ("d", 0), ("e", 0), ("f", 0), ("g", 10.0), ("b", 60.0)] == callers.served


async def test_a_call_that_waits_for_the_provider_holds_nothing_of_its_own_scope() -> None:
    """While POST waits for the provider, its own window and its only place are as before."""
    scopes = {"hub:post": ["1 per 1m strict", "1 in flight"]}
    async with governed("1 per 10s strict", scopes=scopes) as governor, anyio.create_task_group() as tasks:
        callers = Callers(governor, tasks)
        await callers.ask("a", "GET")
        await callers.ask("b", "POST")
        available = [one.available for one in governor.statistics().scopes["hub:post"].limits]
        await anyio.sleep(10.5)
        after = [one.available for one in governor.statistics().scopes["hub:post"].limits]

    assert ([1, 1], [0, 1]) == (available, after)
    assert [("a", 0.0), ("b", 10.0)] == callers.served


async def test_a_newcomer_does_not_overtake_a_call_for_which_there_are_too_few_units() -> None:
    async with governed("4 per 10s strict") as governor, anyio.create_task_group() as tasks:
        callers = Callers(governor, tasks)
        await callers.ask("a", "GET", cost=2)
        await callers.ask("b", "PUT", cost=3)
        newcomer = governor.try_permit("hub", "POST")
        await callers.ask("c", "POST")
        await callers.ask("too late", "POST", timeout=9.0)
        await anyio.sleep(30)

    assert Denied("hub:post", Reason.RATE_LIMIT, 10.0) == newcomer
    # Tasks that are woken at one instant run in any order.
    assert [("a", 0.0), ("b", 10.0), ("c", 10.0)] == sorted(callers.served)
    assert [("too late", 20.0)] == callers.denied


async def test_a_place_in_flight_goes_to_the_call_that_came_first_whichever_scope_frees_it() -> None:
    async with governed("2 in flight") as governor, anyio.create_task_group() as tasks:
        callers = Callers(governor, tasks)
        for number, method in enumerate(("GET", "POST", "POST", "GET", "PUT", "GET")):
            await callers.ask(str(number), method, hold=1.0 + number / 10)

    assert [("0", 0), ("1", 0), ("2", 1.0), ("3", 1.1), ("4", 2.2), ("5", 2.4)] == callers.served


async def test_a_cancelled_head_gives_its_place_to_the_next_call_of_its_scope() -> None:
    async with governed("1 per 10s strict") as governor, anyio.create_task_group() as tasks:
        callers = Callers(governor, tasks)
        await callers.ask("0", "GET")
        first = await callers.ask("1", "GET")
        await callers.ask("2", "GET")
        await callers.ask("3", "POST")
        only = await callers.ask("4", "PUT")
        await callers.ask("5", "POST")
        await anyio.sleep(5)
        first.cancel()
        only.cancel()

    assert [("0", 0), ("2", 10.0), ("3", 20.0), ("5", 30.0)] == callers.served


async def test_a_method_costs_what_the_settings_say() -> None:
    cost = {"post": 5, "get": {"points": 1}, "put": {"points": 4}, "head": 0}
    async with governed("10 per hour strict", "8 points per hour strict", "6 in flight", cost=cost) as governor:
        permits = [
            governor.try_permit("hub", method) for method in ("POST", "GET", "PUT", "PUT", "HEAD", "HEAD", "GET", "HEAD")
        ]
        left = governor.try_permit("hub", "POST")

    reasons = [answer.reason if isinstance(answer, Denied) else None for answer in (*permits, left)]
    # 5 + 1 + 1 requests and 1 + 4 points, then 4 more points are too many; then 6 are in flight.
    assert [*[None] * 3, Reason.RATE_LIMIT, None, None, None, Reason.CONCURRENCY, Reason.CONCURRENCY] == reasons


@pytest.mark.promise("R03")
async def test_what_a_call_has_used_beyond_its_permit_costs_what_its_method_costs() -> None:
    async with governed("20 per hour strict", cost={"post": 5}) as governor:
        granted(governor.try_permit("hub", "POST")).record(status=200, used={"requests": 3})
        answers = [governor.try_permit("hub", "GET") for _ in range(6)]

    assert [True] * 5 + [False] == [isinstance(answer, Permit) for answer in answers]


async def test_two_limits_of_the_provider_starve_no_call_that_needs_both() -> None:
    """GET takes units of one limit only, whenever there are any; POST needs both of them at once."""
    cost = {"get": {"points": 1}, "put": {"requests": 0, "points": 1}, "post": {"points": 3}}
    async with governed("2 per 2s strict", "3 points per 3s strict", cost=cost) as governor, anyio.create_task_group() as tasks:
        callers = Callers(governor, tasks)
        for number in range(3):
            await callers.ask(f"get {number}", "GET")
        await callers.ask("post", "POST")
        for number in range(40):
            await callers.ask(f"put {number}", "PUT")
        tasks.cancel_scope.deadline = anyio.current_time() + 10

    assert 6.0 >= dict(callers.served)["post"]


@pytest.mark.promise("R10")
async def test_a_denied_call_learns_the_instant_at_which_it_would_have_been_served_behind_all_scopes() -> None:
    async with governed("4 per 15s strict") as governor, anyio.create_task_group() as tasks:
        callers = Callers(governor, tasks)
        await callers.ask("a", "GET")
        await callers.ask("b", "POST", cost=4)
        await callers.ask("c", "PUT", timeout=20.0)
        await callers.ask("d", "PATCH", timeout=31.0)
        told = governor.try_permit("hub", "DELETE", cost=4)

    assert [("a", 0), ("b", 15.0), ("d", 30.0)] == callers.served
    assert [("c", 30.0)] == callers.denied
    assert isinstance(told, Denied)
    assert 45.0 == pytest.approx(told.retry_after)


async def test_other_settings_take_over_what_was_spent_and_the_calls_that_wait() -> None:
    async with governed("3 per 1m strict", "1 in flight") as governor, anyio.create_task_group() as tasks:
        callers = Callers(governor, tasks)
        await callers.ask("a", "GET", hold=20.0)
        await callers.ask("b", "POST")
        await callers.ask("c", "GET")
        await anyio.sleep(5)
        # Two units used and one place taken, by limits of which one is new, one has changed and one has gone.
        governor.reconfigure(config("2 in flight", "4 per 1m strict", "100 per hour strict"))
        await anyio.wait_all_tasks_blocked()
        early = [*callers.served]
        await callers.ask("d", "PUT")
        await anyio.sleep(10)
        await callers.ask("e", "PUT", timeout=0.0)

    assert [("a", 0), ("b", 5.0), ("c", 5.0)] == early
    assert [("d", 5.0)] == callers.served[3:]
    # The first call is counted until a minute after the latest instant at which it may have arrived.
    assert [("e", 47.0)] == callers.denied


async def test_what_a_provider_has_spent_outlives_its_scopes() -> None:
    said = {"global": {"max_scopes": 1, "idle_after": "1s"}, "provider": {"hub": {"limits": ["3 per hour strict"]}}}
    denied = []
    async with Governor(Config.from_mapping(said), clock=loop_clock()) as governor:
        for method in METHODS[:4]:
            answer = governor.try_permit("hub", method)
            denied.append(isinstance(answer, Denied))
            await anyio.sleep(60)
            if isinstance(answer, Permit):
                # While its call is in flight, the scope makes no room for another one.
                assert isinstance(governor.try_permit("lab"), Denied)
                answer.record(status=200)
            del answer  # A permit keeps its scope alive.
            await anyio.sleep(60)
            granted(governor.try_permit("lab")).record(status=200)
            gc.collect()
            await anyio.sleep(60)

    assert [False] * 3 + [True] == denied


LIMITS = ("5/minute burst 5", "5 per minute strict", "5 in flight")


@pytest.mark.promise("R55")
@pytest.mark.parametrize("policy", [TokenBucketPolicy, StrictWindowPolicy, InFlightPolicy])
@pytest.mark.parametrize("cost", [1, 2])
async def test_a_commit_that_fails_halfway_takes_nothing_of_any_limit(policy: type, cost: int) -> None:
    async with governed(*LIMITS, scopes={"hub:get": LIMITS}) as governor, anyio.create_task_group() as tasks:
        callers = Callers(governor, tasks)
        await callers.ask("a", "POST", cost=4, hold=30.0)
        await callers.ask("b", "GET", cost=2)
        await callers.ask("c", "PUT")
        with failing(policy, "commit"):
            # It comes first, and asks before the one that waits is served: nothing but this scope crashes.
            crashed = governor.try_permit("hub", "GET", cost=cost)
            await anyio.wait_all_tasks_blocked()
        await anyio.wait_all_tasks_blocked()
        own = [limit.available for limit in governor.statistics().scopes["hub:get"].limits]

    assert isinstance(crashed, Denied)
    assert ([5, 5, 5], []) == (own, callers.denied)


@pytest.mark.promise("R55")
@pytest.mark.parametrize(
    ("policy", "method", "cost"),
    # A plain request is spent in buckets without a call of theirs.
    [
        (TokenBucketPolicy, "commit", 2),
        (StrictWindowPolicy, "spend", 1),
        (StrictWindowPolicy, "commit", 2),
        (InFlightPolicy, "spend", 1),
        (InFlightPolicy, "commit", 2),
    ],
)
async def test_it_gives_back_what_it_took_of_the_limits_of_the_provider(policy: type, method: str, cost: int) -> None:
    async with governed(*LIMITS) as governor:
        granted(governor.try_permit("hub", "GET"))
        with failing(policy, method):
            crashed = governor.try_permit("hub", "GET", cost=cost)
        await anyio.wait_all_tasks_blocked()
        left = [limit.available for limit in governor.statistics().provider_limits["hub"]]

    assert isinstance(crashed, Denied)
    assert [4, 4, 4] == left


@pytest.mark.promise("R02")
@pytest.mark.parametrize(
    ("limit", "cost", "left"),
    [
        ("80/minute burst 80", {}, 80 - 2 - 3),
        ("320/minute burst 320", {"get": 4}, 320 - 5 - 3 * 4),
        ("160 points/minute burst 160", {"get": {"points": 2}, "post": {"points": 1}}, 160 - 3 - 3 * 2),
    ],
)
async def test_permits_granted_ahead_count_in_the_limit_of_the_provider_and_are_recalled_for_another_scope(
    limit: str, cost: Mapping[str, object], left: int
) -> None:
    governor = governed(limit, scopes={"hub:get": ["1000/s burst 1000", "2000/s burst 2000"]}, cost=cost)
    governor._leases = True  # Also in virtual time.
    async with governor:
        for method in METHODS[:2]:
            granted(governor.try_permit("hub", method))
        actor = actor_of(governor, "hub", "GET")
        actor.leasing.demand.size = 100
        actor.within(lambda: actor.leasing.fill(actor.ledger.clock()))
        ahead = actor.leasing.outstanding
        taken = [actor.take() for _ in range(3)]
        others = [governor.try_permit("hub", "POST") for _ in range(left + 5)]
        late = actor.take()

    assert 9 == ahead
    assert None not in taken
    assert left == sum(isinstance(answer, Permit) for answer in others)
    assert late is None


async def test_a_scope_with_a_key_has_the_settings_and_the_limits_of_its_key_of_its_provider_and_of_both() -> None:
    said = {
        "global": {"requests_per_minute": "off"},
        "provider": {
            "llm": {"limits": ["9 per hour strict"]},
            "llm/Large": {"limits": ["2 per hour strict"]},
            "llm/default": {"limits": ["3 per hour strict"]},
        },
        "outbound": {"llm": {"limits": []}, "llm/large": {"limits": ["4 in flight"]}, "llm/large:get": {"limits": []}},
    }
    async with Governor(Config.from_mapping(said), clock=loop_clock()) as governor:
        large = [granted(governor.try_permit("llm", method, key="large")) for method in ("GET", "POST")]
        full = governor.try_permit("LLM", "PUT", key="Large")
        # Keys without a section, and calls without a key, are counted together.
        others = [governor.try_permit("llm", "POST", key=key) for key in ("small", "tiny:1b", None, "small")]
        statistics = governor.statistics()

    assert ["llm/large:get", "llm/large:post"] == [permit.scope for permit in large]
    assert Denied("llm/large:put", Reason.RATE_LIMIT, 3600.0) == full
    assert [Permit, Permit, Permit, Denied] == [Permit if isinstance(one, Permit) else Denied for one in others]
    left = {name: limit.available for name, (limit,) in statistics.provider_limits.items()}
    assert {"llm": 4, "llm/large": 0, "llm/default": 0} == left
    own = {name: [limit.limit for limit in scope.limits] for name, scope in statistics.scopes.items()}
    assert [[], ["4 in flight"]] == [own["llm/large:get"], own["llm/large:post"]]
    assert {"llm/small:post", "llm/tiny-1b:post", "llm:post"} < own.keys()
