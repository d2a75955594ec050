"""Laws of the retry schedule."""

from fractions import Fraction
from itertools import chain, combinations, product
from random import Random
from typing import Final, get_args

import pytest

from governor._units import MAX_DURATION, Duration, Instant
from governor.policies.retry import MAX_ATTEMPTS, CallFailure, Jitter, Retry, RetryEnd, end_after, plan
from tests.support import tape as st
from tests.support.tape import given

JITTERS: st.SearchStrategy[Jitter] = st.sampled_from(get_args(Jitter))
SPANS = st.integers(1, 100) | st.integers(1, 10**8) | st.integers(1, MAX_DURATION)
BASES = st.sampled_from([1, 1.0, 2, 2.0, 10**400]) | st.floats(1, 4) | st.floats(1, 1.7e308)
ATTEMPTS = st.integers(1, MAX_ATTEMPTS)
SEEDS = st.integers(0, 2**32)
WAITS = st.none() | st.integers(-5, 5) | SPANS | st.integers(MAX_DURATION - 1, MAX_DURATION + 1)


@st.composite
def retries(draw: st.DrawFn, jitters: st.SearchStrategy[Jitter] = JITTERS) -> Retry:
    shorter, longer = sorted([draw(SPANS), draw(SPANS)])
    jitter = draw(jitters)
    return Retry(
        attempts=draw(ATTEMPTS), first_delay=Duration(shorter), max_delay=Duration(longer), base=draw(BASES), jitter=jitter
    )


def exact(retry: Retry, attempt: int) -> Fraction:
    return min(retry.first_delay * Fraction(retry.base) ** (attempt - 1), Fraction(retry.max_delay))


@given(retries(st.just("none")), ATTEMPTS)
def test_without_jitter_the_delay_is_the_capped_power_to_the_microsecond(retry: Retry, attempt: int) -> None:
    delay = retry.backoff(attempt, Random(1))

    # Half a microsecond for the rounding, and what floats lose in five multiplications.
    assert abs(delay - exact(retry, attempt)) <= Fraction(1, 2) + exact(retry, attempt) / 10**14
    assert isinstance(delay, int)


@pytest.mark.promise("R05")
@given(retries(), st.integers(1, 50), SEEDS)
def test_no_delay_is_negative_or_beyond_the_cap(retry: Retry, attempt: int, seed: int) -> None:
    delay = retry.backoff(attempt, Random(seed))

    assert isinstance(delay, int)
    assert 0 <= delay <= retry.max_delay


@given(retries(st.just("none")))
def test_without_jitter_no_delay_is_shorter_than_the_one_before(retry: Retry) -> None:
    delays = [retry.backoff(attempt, Random(1)) for attempt in range(1, 20)]

    assert sorted(delays) == delays
    assert delays[0] == retry.first_delay


@given(retries(st.just("proportional")), ATTEMPTS, SEEDS)
def test_proportional_jitter_keeps_at_least_half_of_the_delay(retry: Retry, attempt: int, seed: int) -> None:
    whole = Retry(first_delay=retry.first_delay, max_delay=retry.max_delay, base=retry.base, jitter="none")

    longest = whole.backoff(attempt, Random(seed))

    assert longest <= 2 * retry.backoff(attempt, Random(seed)) <= 2 * longest


@given(retries(), ATTEMPTS, SEEDS, WAITS)
def test_the_same_random_gives_the_same_plan(retry: Retry, attempt: int, seed: int, said: int | None) -> None:
    wait = None if said is None else Duration(said)

    first, second = (
        plan(retry, attempt=attempt, now=Instant(5), deadline=None, server_wait=wait, random=Random(seed)) for _ in range(2)
    )

    assert first == second


@pytest.mark.promise("R05")
@given(retries(), SEEDS, st.lists(WAITS, min_size=10, max_size=10))
def test_one_operation_makes_exactly_its_attempts_and_never_more_than_five_retries(
    retry: Retry, seed: int, said: list[int | None]
) -> None:
    attempt, random = 1, Random(seed)
    ends = []
    for wait in said:
        server_wait = None if wait is None else Duration(wait)
        planned = plan(retry, attempt=attempt, now=Instant(0), deadline=None, server_wait=server_wait, random=random)
        if isinstance(planned, RetryEnd):
            ends.append(planned)
        else:
            attempt += 1

    assert {RetryEnd.ATTEMPTS} == set(ends)
    assert retry.attempts == attempt <= 6


@pytest.mark.promise("R05")
@given(
    retries(),
    ATTEMPTS,
    SEEDS,
    WAITS,
    st.integers(0, 2 * MAX_DURATION),
    st.integers(-2, 2) | st.integers(-MAX_DURATION, MAX_DURATION),
)
def test_the_deadline_decides_whether_there_is_a_retry_and_never_how_long_it_waits(
    retry: Retry, attempt: int, seed: int, said: int | None, now: int, slack: int
) -> None:
    server_wait = None if said is None else Duration(said)
    free = plan(retry, attempt=attempt, now=Instant(now), deadline=None, server_wait=server_wait, random=Random(seed))
    deadline = Instant(now + (0 if isinstance(free, RetryEnd) else free) + slack)

    bound = plan(retry, attempt=attempt, now=Instant(now), deadline=deadline, server_wait=server_wait, random=Random(seed))

    expected = free if slack >= 0 or isinstance(free, RetryEnd) else RetryEnd.DEADLINE
    assert expected == bound


@pytest.mark.promise("R05")
@given(retries(), SEEDS, WAITS)
def test_the_server_wait_is_taken_as_it_is_or_not_at_all(retry: Retry, seed: int, said: int | None) -> None:
    own = retry.backoff(1, Random(seed))
    server_wait = None if said is None else Duration(said)

    planned = plan(retry, attempt=1, now=Instant(9), deadline=None, server_wait=server_wait, random=Random(seed))

    usable = said is not None and 1 <= said <= MAX_DURATION
    assert planned == (RetryEnd.ATTEMPTS if retry.attempts == 1 else said if usable else own)


#: Every kind of method and of status: idempotent or not, a refusal or not.
METHODS: Final = ("GET", "PUT", "POST", "PATCH")
STATUSES: Final = (429, 500, 503)


def choices(*values: object) -> list[frozenset[object]]:
    return [frozenset(some) for some in chain.from_iterable(combinations(values, size) for size in range(len(values) + 1))]


def reasons_to_repeat(
    retry: Retry, method: str, key: bool, status: int | None, server_wait: bool, failure: CallFailure | None
) -> list[str]:
    """Every rule that lets the call be repeated, each stated alone."""
    answered, wanted, listed = status is not None, status in retry.statuses, method in retry.methods
    rejected = status in {429, 500} or (status == 503 and server_wait)
    rules = {
        "an idempotency key": key and (wanted or not answered),
        "an idempotent method": method in {"GET", "PUT"} and listed and (wanted or not answered),
        "a method of the settings, after an answer": listed and wanted,
        "a method of the settings, after a broken connection": listed and not answered and failure == "broken",
        "never sent": not answered and failure == "unsent",
        "rejected unprocessed": wanted and status in retry.safe_statuses and rejected,
    }
    return [rule for rule, holds in rules.items() if holds]


@pytest.mark.promise("R05")
def test_a_call_is_repeated_exactly_if_one_of_the_rules_lets_it() -> None:
    """Every call, every failure and every choice of settings."""
    settings = [
        Retry(methods=methods, statuses=statuses, safe_statuses=safe)  # type: ignore[arg-type]  # the settings' own texts
        for methods, statuses, safe in product(choices("GET", "POST"), choices(*STATUSES), choices(*STATUSES))
    ]
    calls = list(product(METHODS, (False, True), (None, *STATUSES), (False, True), (None, *CallFailure)))
    differing = [
        (retry, *call)
        for retry in settings
        for call in calls
        if bool(reasons_to_repeat(retry, *call))
        != (end_after(retry, call[0], idempotency_key=call[1], status=call[2], server_wait=call[3], failure=call[4]) is None)
    ]

    assert [] == differing
    assert 65_536 == len(settings) * len(calls)


@pytest.mark.promise("R05")
@given(
    st.frozensets(st.sampled_from(["GET", "POST", "PATCH", "SEARCH"])),
    st.frozensets(st.integers(400, 599)),
    st.frozensets(st.integers(400, 599)),
    st.sampled_from(["POST", "PATCH", "SEARCH", "embeddings"]),
    st.booleans(),
    st.sampled_from([None, CallFailure.TIMEOUT]),
)
def test_no_setting_repeats_a_call_with_an_effect_after_a_timeout_without_a_key(
    methods: frozenset[str],
    statuses: frozenset[int],
    safe: frozenset[int],
    method: str,
    server_wait: bool,
    failure: CallFailure | None,
) -> None:
    retry = Retry(methods=methods, statuses=statuses, safe_statuses=safe)

    end = end_after(retry, method, idempotency_key=False, status=None, server_wait=server_wait, failure=failure)

    assert end is (RetryEnd.UNCERTAIN if method in methods else RetryEnd.METHOD)
