"""What servers say about their limits, through the whole governor in virtual time: what is granted, and when."""

from collections import Counter
from itertools import pairwise
from random import Random

import anyio
import anyio.lowlevel
import pytest
import trio
import trio.testing
from hypothesis import settings

from governor import Config, Denied, Governor, Permit, Reason
from governor._units import MINUTE, SECOND, Duration
from governor.hints import Hint, Severity, read_hints
from governor.hints.hint import Scope
from governor.testing import loop_clock
from tests.support import tape as st
from tests.support.answers import granted
from tests.support.governors import actor_of
from tests.support.tape import given

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R11")]

SCOPES = ("acme:get", "acme:post", "acme:delete")


def governed(provider: dict[str, object] | None = None, **tables: object) -> Governor:
    said = {
        "global": {"requests_per_minute": 100_000},
        "outbound": {"default": {"limits": []}},
        "provider": {"acme": provider or {}},
        **tables,
    }
    return Governor(Config.from_mapping(said), clock=loop_clock(), random=Random(1))


def ask(governor: Governor, scope: str = "acme:get") -> Permit | Denied:
    provider, _, method = scope.partition(":")
    return governor.try_permit(provider, method)


def left(units: int, seconds: float, scope: Scope = "provider") -> tuple[Hint, ...]:
    """An answer that says what remains for so long."""
    reset = Duration(round(seconds * SECOND))
    if units:
        return (Hint("requests", None, units, reset, scope=scope),)
    return (Hint("requests", None, 0, reset, reset, Severity.EXHAUSTED, scope),)


DENIED = (Hint("requests", retry_after=Duration(SECOND), severity=Severity.THROTTLED, assumed=True),)


async def test_no_more_is_granted_than_remains_over_all_scopes_and_all_of_it_after_the_reset() -> None:
    async with governed() as governor:
        calls = [granted(ask(governor, scope)) for scope in (*SCOPES, "acme:get")]
        calls[0].hints(left(10, 60))
        # Three were sent since.
        more = [ask(governor, SCOPES[number % 3]) for number in range(20)]
        await anyio.sleep(59.999)
        still = ask(governor)
        await anyio.sleep(7)
        after = [ask(governor, scope) for scope in SCOPES * 10]

    assert [isinstance(answer, Permit) for answer in more] == [True] * 7 + [False] * 13
    assert isinstance(more[-1], Denied)
    assert (more[-1].reason, 60 <= (more[-1].retry_after or 0) <= 66) == (Reason.RATE_LIMIT, True)
    assert isinstance(still, Denied)
    assert all(isinstance(answer, Permit) for answer in after)


async def test_nothing_is_granted_before_the_reset_once_nothing_remains() -> None:
    async with governed() as governor:
        granted(ask(governor)).hints(left(0, 30))
        denied = [ask(governor, scope) for scope in SCOPES]
        await anyio.sleep(29.999_999)
        before = ask(governor)
        await anyio.sleep(3.1)
        after = ask(governor)

    assert all(isinstance(one, Denied) and one.reason is Reason.COOLDOWN for one in (*denied, before))
    assert isinstance(after, Permit)


async def test_an_answer_that_is_read_late_says_less_than_was_sent_since_and_one_of_a_looser_limit_changes_nothing() -> None:
    async with governed() as governor:
        first = granted(ask(governor))
        await anyio.sleep(0.1)
        second = granted(ask(governor))
        await anyio.sleep(0.1)
        third = granted(ask(governor))
        await anyio.sleep(0.1)
        third.hints(left(5, 60))
        second.hints(left(50, 60))
        first.hints(left(6, 30))
        answers = [ask(governor) for _ in range(8)]

    assert [isinstance(answer, Permit) for answer in answers] == [True] * 4 + [False] * 4


async def test_a_scope_whose_server_limits_it_alone_does_not_hold_the_others() -> None:
    async with governed() as governor:
        granted(ask(governor)).hints(left(2, 60, scope="scope"))
        own = [ask(governor) for _ in range(4)]
        other = [ask(governor, "acme:post") for _ in range(20)]

    assert [isinstance(answer, Permit) for answer in own] == [True, True, False, False]
    assert all(isinstance(answer, Permit) for answer in other)


@pytest.mark.promise("R14")
async def test_a_call_that_waits_for_a_limit_of_its_scope_alone_holds_no_other_scope_up() -> None:
    """It arrives while others wait for the rate of the provider, before more of them."""
    ends = list[float]()

    async def call(method: str) -> None:
        async with governor.permit("acme", method):
            ends.append(anyio.current_time() - began)

    async with governed({"unknown": "adaptive"}) as governor, anyio.create_task_group() as tasks:
        granted(ask(governor, "acme:post")).hints(left(1, 60, scope="scope"))
        await anyio.sleep(1)
        granted(ask(governor, "acme:post"))
        began = anyio.current_time()
        for method in ["GET"] * 5 + ["POST"] + ["GET"] * 5:
            tasks.start_soon(call, method)
            await anyio.lowlevel.checkpoint()
        await anyio.sleep(30)
        tasks.cancel_scope.cancel()

    assert len(ends) == 10
    assert max(ends) < 10


async def test_what_remains_of_a_scope_outlives_its_actor() -> None:
    async with governed(**{"global": {"max_scopes": 2, "idle_after": "1s"}}) as governor:
        permit = granted(ask(governor))
        permit.hints(left(3, 600, scope="scope"))
        permit.record(status=200)
        for number in range(10):
            await anyio.sleep(5.0)
            granted(governor.try_permit(f"other{number}")).record(status=200)
        answers = [ask(governor) for _ in range(5)]

    assert [isinstance(answer, Permit) for answer in answers] == [True] * 3 + [False] * 2


async def test_a_scope_that_was_set_aside_goes_on_to_adopt_the_windows_of_its_server() -> None:
    (stated,) = read_hints("acme", 200, {"ratelimit-policy": '"minute";q=4;w=60'}, now=0.0)
    async with governed(**{"global": {"max_scopes": 1, "idle_after": "1s"}}) as governor:
        first = granted(ask(governor))
        first.hints(left(50, 600, scope="scope"))
        first.record(status=200)
        await anyio.sleep(25.0)
        granted(governor.try_permit("other")).record(status=200)
        await anyio.sleep(25.0)
        granted(ask(governor)).hints((stated._replace(scope="scope"),))
        await anyio.sleep(5.0)
        answers = [ask(governor) for _ in range(6)]

    assert [isinstance(answer, Permit) for answer in answers] == [True] * 2 + [False] * 4


async def test_those_who_wait_go_on_after_the_reset_one_after_another_and_later_than_the_server_says() -> None:
    ends: list[float] = []

    async def wait() -> None:
        async with governor.permit("acme", "POST"):
            ends.append(anyio.current_time() - began)

    async with governed() as governor:
        began = anyio.current_time()
        granted(ask(governor)).hint(retry_after=20.0)
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(wait)

    assert min(ends) >= 20.0
    assert max(ends) <= 22.001
    assert len({round(end, 4) for end in ends}) >= 15


async def test_after_a_reset_the_next_window_has_as_many_units_as_the_server_says() -> None:
    async with governed() as governor:
        granted(ask(governor)).hints((Hint("requests", 10, 4, Duration(20 * SECOND)),))
        before = sum(isinstance(ask(governor), Permit) for _ in range(20))
        await anyio.sleep(22.0)
        after = sum(isinstance(ask(governor), Permit) for _ in range(50))
        await anyio.sleep(22.0)
        later = sum(isinstance(ask(governor), Permit) for _ in range(50))

    assert (before, after, later) == (4, 10, 50)


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, {"ratelimit-policy": '"minute";q=60;w=60'}, None),
        (429, {"retry-after": "2"}, b'{"error": "At most 60 requests per minute are allowed."}'),
    ],
)
async def test_a_window_that_the_server_states_becomes_a_limit_if_the_settings_have_none_and_counts_the_calls_before(
    status: int, headers: dict[str, str], body: bytes | None
) -> None:
    said = read_hints("acme", status, headers, now=0.0, body=body)
    counts = []
    for tables in ({}, {"outbound": {"default": {"limits": []}, "acme": {"limits": ["1000/s"]}}}):
        async with governed(**tables) as governor:
            first, *_ = [granted(ask(governor, scope)) for scope in SCOPES]
            await anyio.sleep(4.0)
            first.hints(said)
            first.record(status=status)
            for wait in (6.0, 49.0, 4.0):
                await anyio.sleep(wait)
                counts.append(sum(isinstance(ask(governor), Permit) for _ in range(100)))

    # They count until a minute after they must have arrived, which is 62 s after they began.
    assert counts == [57, 0, 3, 100, 100, 100]


@pytest.mark.promise("R15")
async def test_a_provider_that_denies_without_a_hint_is_slowed_down_and_single_calls_find_out_when_it_answers() -> None:
    sent: list[float] = []
    async with governed() as governor:
        for number in range(400):
            answer = ask(governor)
            if isinstance(answer, Permit):
                sent.append(anyio.current_time())
                if 100 <= number:
                    answer.hints(DENIED)
                    answer.record(status=429)
                else:
                    answer.record(status=200)
            await anyio.sleep(0.1)
    denied = sent[100:]
    gaps = [later - earlier for earlier, later in pairwise(denied)]

    # 30 seconds of denials: pauses of 1, 2, 4, 8 and 16 s.
    assert len(denied) <= 6
    assert gaps == sorted(gaps)


@pytest.mark.promise("R15")
async def test_the_first_denial_of_a_provider_tells_the_rate_of_its_own_calls_and_not_that_of_others() -> None:
    async with governed() as governor:
        for _ in range(40):
            latest = granted(ask(governor))
            for _ in range(20):
                granted(governor.try_permit("other")).record(status=200)
            latest.record(status=200)
            await anyio.sleep(0.5)
        latest = granted(ask(governor))
        latest.hints(DENIED)
        latest.record(status=429)
        learned = actor_of(governor, "acme", "get").ledger.pipeline.shared.server.learned

    assert learned is not None
    assert 1.0 <= learned.rate <= 1.6


#: Answers that say "rate limited" and are wrong: units are left for an hour; the limit is free in a second.
WRONG = {
    "units left": {"retry-after": "1", "x-ratelimit-remaining": "90", "ratelimit": '"default";r=100;t=3600'},
    "free at once": {"retry-after": "1", "x-ratelimit-limit": "10", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"},
    "free long ago": {"retry-after": "0", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1700000000"},
    "nothing": {},
}


async def _ten_a_minute(headers: dict[str, str], gap: float, *, hours: int) -> tuple[int, list[float]]:
    """Asks a provider that grants ten calls in any minute: the number of these, and when the others were made."""
    served, denied, window = 0, list[float](), list[float]()
    async with governed({"unknown": "adaptive"}) as governor:
        end = anyio.current_time() + 3600 * hours
        while (now := anyio.current_time()) < end:
            answer = ask(governor)
            if isinstance(answer, Denied):
                await anyio.sleep(answer.retry_after or 1.0)
                continue
            window = [at for at in window if at > now - 60]
            if len(window) < 10:
                window.append(now)
                served += 1
                answer.record(status=200)
            else:
                denied.append(now)
                answer.hints(read_hints("acme", 429, headers, now=1.7e9 + now))
                answer.record(status=429)
            await anyio.sleep(gap)
    return served, denied


@pytest.mark.promise("R15")
@pytest.mark.parametrize("gap", [0.001, 1.5], ids=["as fast as can be", "few calls"])
@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG)
async def test_wrong_hints_are_not_worse_than_none(headers: dict[str, str], gap: float) -> None:
    served, denied = await _ten_a_minute(headers, gap, hours=1)

    assert served >= 0.9 * 600
    assert len(denied) <= 0.02 * 600
    assert max(sum(at - 60 < other <= at for other in denied) for at in denied) <= 5


@pytest.mark.promise("R15")
@pytest.mark.parametrize(("rate", "spurious", "least", "most"), [(20.0, 0, 55, 1), (20.0, 1, 10, 2), (1.0, 0, 2, 12)])
async def test_calls_that_began_just_before_a_denial_with_a_short_wait_are_not_taken_for_those_of_a_long_span(
    rate: float, spurious: int, least: int, most: int
) -> None:
    """Twenty calls use up a bucket at once. Some calls after that are denied in a row although it has units again."""
    left, filled_at, served, denied = 20.0, 0.0, list[float](), 0
    async with governed() as governor:
        began = anyio.current_time()
        while (now := anyio.current_time() - began) < 12.0:
            answer = ask(governor)
            if isinstance(answer, Denied):
                await anyio.sleep(answer.retry_after or 0.1)
                continue
            left, filled_at = min(20.0, left + rate * (now - filled_at)), now
            if left >= 1 and not 0 < denied <= spurious:
                left -= 1
                served.append(now)
                answer.record(status=200)
            else:
                denied += 1
                answer.hints(read_hints("acme", 429, {"retry-after": "1"}, now=1.7e9 + now))
                answer.record(status=429)
            await anyio.sleep(0.005)

    assert least <= sum(at >= 8.0 for at in served)
    assert denied <= most


@pytest.mark.promise("R15")
async def test_a_wait_that_is_far_too_long_is_kept_and_the_rate_is_learned_from_the_second_denial() -> None:
    served, denied = await _ten_a_minute({"retry-after": "2592000", "x-ratelimit-remaining": "0"}, 1.5, hours=6)

    # It waits for an hour after each denial; without learning, ten calls would be made between two of them, 60 in all.
    assert len(denied) <= 5
    assert served >= 400


@pytest.mark.promise("R15")
@pytest.mark.parametrize(("wait", "left", "is_learned"), [("1", "90", True), ("1", "0", False), ("60", "90", False)])
async def test_a_short_wait_in_a_denial_that_says_that_requests_are_left_is_learned_from_at_once(
    wait: str, left: str, is_learned: bool
) -> None:
    said = {"retry-after": wait, "x-ratelimit-limit": "100", "x-ratelimit-remaining": left, "x-ratelimit-reset": wait}
    async with governed() as governor:
        for _ in range(5):
            granted(ask(governor)).record(status=200)
            await anyio.sleep(2)
        latest = granted(ask(governor))
        latest.hints(read_hints("acme", 429, said, now=1.7e9))
        latest.record(status=429)
        learned = actor_of(governor, "acme", "get").ledger.pipeline.shared.server.learned

    assert (learned is not None) == is_learned


@pytest.mark.promise("R15")
@pytest.mark.parametrize("wait", [0, 1_000])
async def test_calls_of_one_instant_that_are_denied_with_hardly_a_wait_are_those_of_a_second(wait: int) -> None:
    async with governed() as governor:
        calls = [granted(ask(governor)) for _ in range(20)]
        calls[0].hints((Hint("requests", retry_after=Duration(wait), severity=Severity.THROTTLED),))
        calls[0].record(status=429)
        learned = actor_of(governor, "acme", "get").ledger.pipeline.shared.server.learned

    assert learned is not None
    assert 10 <= learned.learner.rate <= 20


@pytest.mark.promise("R15")
@pytest.mark.parametrize(
    ("counted", "reads", "most"), [({"post"}, 900, 2), ({"get", "post", "put", "patch", "delete"}, 20, 5)], ids=["one", "all"]
)
async def test_a_denial_that_says_that_requests_are_left_holds_its_own_method_unless_another_one_is_denied_too(
    counted: set[str], reads: int, most: int
) -> None:
    """A provider that allows 20 calls of some methods in any minute, and states only a limit of which nearly all is left."""
    accepted, denied, window = Counter[str](), 0, list[float]()

    async def ask_for_twenty_minutes(governor: Governor, method: str) -> None:
        nonlocal denied, window
        end = anyio.current_time() + 1200
        while (now := anyio.current_time()) < end:
            answer = ask(governor, f"acme:{method}")
            if isinstance(answer, Denied):
                await anyio.sleep(answer.retry_after or 1.0)
                continue
            window = [at for at in window if at > now - 60]
            is_denied = method in counted and len(window) == 20
            said = {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4900", "x-ratelimit-reset": "3600"}
            status = 429 if is_denied else 200
            answer.hints(read_hints("acme", status, said | ({"retry-after": "60"} if is_denied else {}), now=1.7e9 + now))
            answer.record(status=status)
            denied += is_denied
            accepted[method] += not is_denied
            window += [now] * (method in counted and not is_denied)
            await anyio.sleep(1.0)

    async with governed({"unknown": "adaptive"}) as governor, anyio.create_task_group() as group:
        for method in sorted({"get", "post"} | counted):
            group.start_soon(ask_for_twenty_minutes, governor, method)

    assert accepted["get"] >= reads
    assert sum(accepted[method] for method in counted) >= 0.7 * 20 * 20
    assert denied <= most


@pytest.mark.promise("R15")
@pytest.mark.parametrize(
    ("reads", "wait", "said", "is_alone"),
    [(10, 60, True, True), (9, 60, True, False), (10, 59, True, True), (10, 60, False, True), (10, 59, False, False)],
)
async def test_the_limit_is_that_of_the_provider_unless_its_other_methods_were_used_lately(
    reads: int, wait: int, said: bool, is_alone: bool
) -> None:
    """A denial after which nothing is said of requests must ask for a minute at least."""
    left = {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4900", "x-ratelimit-reset": "3600"} if said else {}
    async with governed({"unknown": "adaptive"}) as governor:
        for method in ["get"] * reads + ["post"] * 20:
            permit = granted(ask(governor, f"acme:{method}"))
            permit.hints(read_hints("acme", 200, left, now=1.7e9))
            permit.record(status=200)
            await anyio.sleep(1)
        latest = granted(ask(governor, "acme:post"))
        latest.hints(read_hints("acme", 429, left | {"retry-after": str(wait)}, now=1.7e9))
        latest.record(status=429)
        pipeline = actor_of(governor, "acme", "post").ledger.pipeline
        now = actor_of(governor, "acme", "post").ledger.clock()

    assert pipeline.own_server.is_slowed(now) == is_alone
    assert pipeline.shared.server.is_slowed(now) == (not is_alone)


@pytest.mark.promise("R15")
@pytest.mark.parametrize(("dialect", "span"), [("github", MINUTE), ("acme", None)])
async def test_a_long_wait_that_the_provider_documents_says_how_long_its_window_is(dialect: str, span: Duration | None) -> None:
    async with governed({"unknown": "adaptive"}) as governor:
        for _ in range(40):
            granted(ask(governor)).record(status=200)
            await anyio.sleep(1)
        latest = granted(ask(governor))
        latest.hints(read_hints(dialect, 429, {}, now=1.7e9))
        latest.record(status=429)
        learned = actor_of(governor, "acme", "get").ledger.pipeline.shared.server.learned

    assert learned is not None
    assert learned.learner.window.span == span


@pytest.mark.promise("R15")
@pytest.mark.parametrize(
    ("status", "headers", "body", "waits"),
    [
        (429, {"retry-after": "15"}, None, (15, 60, 240, 300, 300)),
        (403, {}, b"Your IP address has been banned.", (300, 1_200, 3_600)),
    ],
    ids=["wait", "ban"],
)
async def test_a_wait_that_has_proved_false_is_four_times_as_long_each_time_whatever_earlier_calls_did(
    status: int, headers: dict[str, str], body: bytes | None, waits: tuple[int, ...]
) -> None:
    sent: list[float] = []
    async with governed() as governor:
        earlier = granted(ask(governor))
        end = anyio.current_time() + 1.1 * sum(waits) + 1
        while (now := anyio.current_time()) < end:
            answer = ask(governor)
            if isinstance(answer, Denied):
                await anyio.sleep(answer.retry_after or 1.0)
                continue
            sent.append(now)
            answer.hints(read_hints("acme", status, headers, now=1.7e9 + now, body=body))
            answer.record(status=429)
            if len(sent) == 1:
                # Granted before the wait: that it succeeds does not show that the wait was true.
                earlier.record(status=200)
    gaps = [later - earlier for earlier, later in pairwise(sent)]

    assert len(gaps) == len(waits)
    assert all(least <= gap <= least * 1.1 for gap, least in zip(gaps, waits, strict=True))


@pytest.mark.promise("R15")
async def test_a_provider_that_works_on_twelve_calls_at_once_is_found_out_over_all_scopes_and_told_in_the_statistics() -> None:
    at_work, denied, answered = 0, 0, 0

    async def call(governor: Governor, scope: str, seconds: float) -> None:
        nonlocal at_work, denied, answered
        provider, _, method = scope.partition(":")
        async with governor.permit(provider, method) as permit:
            if at_work == 12:
                denied += 1
                permit.hints(DENIED)
                permit.record(status=429)
                return
            at_work += 1
            await anyio.sleep(seconds)
            at_work -= 1
            answered += 1
            permit.record(status=200)

    random = Random(5)
    async with governed({"unknown": "adaptive"}) as governor, anyio.create_task_group() as group:
        for number in range(1200):
            # Twelve are wanted at once, of long calls and of short ones by turns.
            mean = 16 if number // 100 % 2 else 8
            group.start_soon(call, governor, random.choice(SCOPES), random.uniform(0.5, 1.5) * mean)
            await anyio.sleep(random.expovariate(11 / mean))
        said = governor.statistics().provider_limits

    (learned,) = said["acme"]
    assert learned.limit == "learned in flight"
    assert 10 <= learned.capacity <= 13
    assert 0 < denied <= 12
    assert answered == 1200 - denied


@pytest.mark.promise("R15")
async def test_an_unknown_provider_is_asked_gently_if_the_settings_say_so() -> None:
    async with governed({"unknown": "adaptive"}) as governor:
        at_once = sum(isinstance(ask(governor), Permit) for _ in range(50))
        later = 0
        for _ in range(90):
            await anyio.sleep(0.1)
            later += isinstance(ask(governor), Permit)
    async with governed({"unknown": "adaptive", "limits": ["1000/s"]}) as governor:
        known = sum(isinstance(ask(governor), Permit) for _ in range(50))

    assert (at_once, known) == (1, 50)
    assert 17 <= later <= 19


@pytest.mark.promise("R12")
@pytest.mark.parametrize("name", ["acme", "acme:get"])
async def test_an_operator_has_forgotten_what_was_learned_of_a_scope_or_a_provider(name: str) -> None:
    scope: Scope = "provider" if name == "acme" else "scope"
    served: list[float] = []

    async def wait() -> None:
        async with governor.permit("acme", "GET"):
            served.append(anyio.current_time() - began)

    async with governed() as governor:
        began = anyio.current_time()
        granted(ask(governor, "acme:post")).record(status=200)
        first, second, third = (granted(ask(governor)) for _ in range(3))
        first.hints(left(3, 600, scope))
        second.hints((Hint("requests", retry_after=Duration(100 * SECOND), scope=scope),))
        if scope == "provider":
            third.hints(DENIED)
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(wait)
            await anyio.sleep(5.0)
            before = list(served)
            governor.operator.reset(name)
            await anyio.lowlevel.checkpoint()
        at_once = [isinstance(ask(governor, each), Permit) for each in SCOPES * 10]

    assert (before, served) == ([], [5.0] * 10)
    assert all(at_once)


IN_FLIGHT = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.001, 0.2]),
        st.sampled_from(["acme:get", "acme:post", "acme/large:get", "other:get"]),
        st.integers(1, 3),
    ),
    max_size=12,
)


@settings(max_examples=40)
@given(st.sampled_from(["requests", "tokens"]), st.sampled_from(["provider", "scope"]), st.integers(1, 3), IN_FLIGHT)
def test_the_first_answer_counts_what_is_in_flight_of_its_provider_or_scope_in_its_unit(
    unit: str, scope: Scope, first_cost: int, others: list[tuple[float, str, int]]
) -> None:
    def try_permit(governor: Governor, name: str, units: int) -> Permit | Denied:
        provider, _, method = name.partition(":")
        return governor.try_permit(provider, method, cost=units if unit == "requests" else {"tokens": units})

    async def story() -> None:
        async with governed() as governor:
            first = granted(try_permit(governor, "acme:get", first_cost))
            in_flight = 0
            for gap, name, units in others:
                await anyio.sleep(gap)
                granted(try_permit(governor, name, units))
                if name == "acme:get" or (scope == "provider" and name != "other:get"):
                    in_flight += units
            first.hints((Hint(unit, remaining=30, reset=Duration(60 * SECOND), scope=scope),))
            more = sum(isinstance(try_permit(governor, "acme:get", 1), Permit) for _ in range(40))

        assert max(0, 30 - in_flight) == more

    trio.run(story, clock=trio.testing.MockClock(autojump_threshold=0))


HINTS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.5, 20.0]),
        st.dictionaries(
            st.sampled_from(
                [
                    "retry-after",
                    "x-ratelimit-remaining",
                    "x-ratelimit-reset",
                    "x-ratelimit-limit",
                    "ratelimit",
                    "ratelimit-policy",
                ]
            ),
            st.sampled_from(
                ["0", "-1", "1", "3", "60", "99999999999", "1377013266", "9" * 35, '"a";r=0;t=9', '"a";q=2;w=5', "x", ""]
            ),
            max_size=4,
        ),
        st.sampled_from([200, 429, 503]),
    ),
    min_size=1,
    max_size=12,
)


@given(HINTS)
def test_whatever_a_server_says_the_provider_is_asked_again_within_the_bound(
    answers: list[tuple[float, dict[str, str], int]],
) -> None:
    async def story() -> None:
        async with governed({"max_hint": "10m"}) as governor:
            for gap, headers, status in answers:
                await anyio.sleep(gap)
                answer = ask(governor)
                if isinstance(answer, Denied):
                    assert answer.retry_after is not None
                    assert answer.retry_after <= 600
                    continue
                answer.hints(read_hints("acme", status, headers, now=1_377_013_206.0))
                answer.record(status=status)
            await anyio.sleep(600.0)
            granted(ask(governor))

    trio.run(story, clock=trio.testing.MockClock(autojump_threshold=0))


async def answered_in_a_minute(said: bool, others: int = 0, **provider: object) -> tuple[int, int, set[Reason]]:
    """The calls that 20 tasks get answered, those that the server denies, and why calls were denied before that.

    The server has windows of 4 s that begin 0.7 s before a whole second, and says its resets in whole seconds. Others use some
    of its units in each of them.
    """
    used: dict[int, int] = {}
    reasons, random = set[Reason](), Random(1)
    served = denied = 0

    async def call(governor: Governor) -> None:
        nonlocal served, denied
        while True:
            permit = ask(governor, "acme:get")
            if isinstance(permit, Denied):
                reasons.add(permit.reason)
                await anyio.sleep(permit.retry_after or 0.1)
                continue
            await anyio.sleep(random.uniform(0.02, 0.22))
            now = anyio.current_time() - began
            number = int((now + 0.7) // 4.0)
            left = 10 - others - used.get(number, 0)
            reset = Duration(int((number + 1) * 4 - 0.7 + 1.0 - now) * SECOND)
            if left <= 0:
                denied += 1
                permit.hints((Hint("requests", 10, 0, reset, reset, Severity.THROTTLED),) if said else DENIED)
                permit.record(status=429)
                continue
            served, left = served + 1, left - 1
            used[number] = used.get(number, 0) + 1
            if said:
                severity = Severity.NOTICE if left else Severity.EXHAUSTED
                permit.hints((Hint("requests", 10, left, reset, None if left else reset, severity),))
            permit.record(status=200)

    async with governed({"limits": ["10 per 4s strict"], **provider}) as governor:
        began = anyio.current_time()
        with anyio.move_on_after(60.0):
            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(call, governor)
    return served, denied, reasons


@pytest.mark.promise("R14")
async def test_what_a_server_says_of_a_window_that_the_settings_state_costs_nothing_unless_others_use_it() -> None:
    silent, _, _ = await answered_in_a_minute(said=False)
    served, denied, reasons = await answered_in_a_minute(said=True)
    _, of_shared, _ = await answered_in_a_minute(said=True, others=5)
    # Where a method is free, the window does not count all calls.
    _, _, of_free = await answered_in_a_minute(said=True, cost={"default": 0})

    assert (0, {Reason.RATE_LIMIT}) == (denied, reasons)
    assert 0.99 * silent <= served
    assert of_shared <= 5
    assert Reason.COOLDOWN in of_free


async def test_a_window_is_not_believed_for_longer_than_the_bound_either() -> None:
    """The window after a reset is as long as the server says, or as the bound."""
    day = Duration(86_400 * SECOND)
    async with governed({"max_hint": "1h"}) as governor:
        granted(ask(governor)).hints((Hint("requests", 1, 0, Duration(60 * SECOND), window=day),))
        await anyio.sleep(120)
        first, second = ask(governor), ask(governor)
        await anyio.sleep(3600)
        third = ask(governor)

    assert [Permit, Denied, Permit] == [type(one) for one in (first, second, third)]


async def test_a_bucket_of_the_settings_of_which_nothing_remains_refills_and_holds_back_what_others_have_used() -> None:
    limits = ["600 tokens per minute burst 600"]
    hint = Hint("tokens", 600, 0, MINUTE, MINUTE, Severity.EXHAUSTED)

    def ask_for(tokens: int) -> Permit | Denied:
        return governor.try_permit("acme", "get", cost={"tokens": tokens})

    async with governed({"limits": limits}) as governor:
        granted(ask_for(100)).hints((hint,))
        await anyio.sleep(9.99)
        before = ask_for(100)
        await anyio.sleep(0.02)
        after = ask_for(100)

    # The bucket of the settings has 500 left, but others have used them.
    assert [Denied, Permit] == [type(before), type(after)]
    assert isinstance(before, Denied)
    assert before.reason is Reason.RATE_LIMIT
