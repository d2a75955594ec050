"""Retry schedule: examples and exact boundaries."""

import math
from http import HTTPStatus
from random import Random
from typing import Any, cast

import pytest

from governor._units import DAY, MAX_DURATION, MILLISECOND, MINUTE, NEVER, SECOND, Duration, Instant
from governor.errors import ConfigError, UsageError
from governor.policies.retry import CallFailure, Jitter, Retry, RetryEnd, end_after, plan

NOW = Instant(1_000 * SECOND)


class Highest(Random):
    """Always draws the upper end."""

    def randint(self, a: int, b: int) -> int:
        return b


class Lowest(Random):
    """Always draws the lower end."""

    def randint(self, a: int, b: int) -> int:
        return a


def plain(
    parameters: Retry, attempt: int = 1, *, deadline: int | None = None, server_wait: int | None = None
) -> Duration | RetryEnd:
    return plan(
        parameters,
        attempt=attempt,
        now=NOW,
        deadline=None if deadline is None else Instant(deadline),
        server_wait=None if server_wait is None else Duration(server_wait),
        random=Random(1),
    )


def test_the_defaults_are_three_attempts_doubling_from_one_second_to_a_minute_with_full_jitter() -> None:
    retry = Retry()

    assert (3, SECOND, 2.0, MINUTE, "full") == (retry.attempts, retry.first_delay, retry.base, retry.max_delay, retry.jitter)


@pytest.mark.promise("R05")
def test_the_delay_grows_by_the_base_until_it_meets_the_cap() -> None:
    retry = Retry(attempts=6, max_delay=Duration(7 * SECOND), jitter="none")

    delays = [retry.backoff(attempt, Random(1)) for attempt in range(1, 6)]

    assert [1 * SECOND, 2 * SECOND, 4 * SECOND, 7 * SECOND, 7 * SECOND] == delays


def test_a_base_of_one_keeps_the_delay() -> None:
    retry = Retry(base=1, jitter="none")

    assert [SECOND] * 3 == [retry.backoff(attempt, Random(1)) for attempt in (1, 2, 100)]


def test_a_base_between_whole_numbers_is_rounded_to_the_microsecond() -> None:
    retry = Retry(first_delay=Duration(3), base=1.5, jitter="none")

    assert [3, 4, 7, 10, 15] == [retry.backoff(attempt, Random(1)) for attempt in range(1, 6)]


@pytest.mark.parametrize("base", [1.7e308, 10**400])
def test_the_largest_base_meets_the_cap_and_does_not_overflow(base: float) -> None:
    retry = Retry(attempts=6, base=base, first_delay=Duration(MAX_DURATION - 1), max_delay=MAX_DURATION, jitter="none")

    assert [MAX_DURATION - 1, MAX_DURATION, MAX_DURATION] == [retry.backoff(attempt, Random(1)) for attempt in (1, 2, 1_000)]


def test_full_jitter_reaches_from_nothing_to_the_whole_delay() -> None:
    retry = Retry(jitter="full")

    assert (0, 2 * SECOND) == (retry.backoff(2, Lowest()), retry.backoff(2, Highest()))


@pytest.mark.parametrize(("first_delay", "least"), [(10, 5), (11, 6), (1, 1)])
def test_proportional_jitter_reaches_from_half_to_the_whole_delay(first_delay: int, least: int) -> None:
    retry = Retry(first_delay=Duration(first_delay), jitter="proportional")

    assert (least, first_delay) == (retry.backoff(1, Lowest()), retry.backoff(1, Highest()))


def test_a_call_is_retried_until_its_attempts_are_used_up() -> None:
    retry = Retry(attempts=3, jitter="none")

    assert [SECOND, 2 * SECOND, RetryEnd.ATTEMPTS, RetryEnd.ATTEMPTS] == [plain(retry, attempt) for attempt in (1, 2, 3, 4)]


def test_a_single_attempt_means_no_retries() -> None:
    assert RetryEnd.ATTEMPTS == plain(Retry(attempts=1))


def test_used_up_attempts_are_the_reason_even_when_the_deadline_has_passed_too() -> None:
    assert RetryEnd.ATTEMPTS == plain(Retry(attempts=1), deadline=NOW - 1)


@pytest.mark.promise("R05")
@pytest.mark.parametrize(
    ("deadline", "expected"),
    [(NOW + SECOND - 1, RetryEnd.DEADLINE), (NOW + SECOND, SECOND), (NOW + SECOND + 1, SECOND), (NEVER, SECOND)],
)
def test_a_retry_may_begin_at_its_deadline_and_no_later(deadline: int, expected: Duration | RetryEnd) -> None:
    assert expected == plain(Retry(jitter="none"), deadline=deadline)


@pytest.mark.promise("R05")
def test_a_server_wait_beyond_the_deadline_ends_the_retries() -> None:
    retry = Retry(jitter="none")

    assert RetryEnd.DEADLINE == plain(retry, server_wait=MINUTE, deadline=NOW + MINUTE - 1)
    assert plain(retry, server_wait=MINUTE, deadline=NOW + MINUTE) == MINUTE


def test_a_deadline_in_the_past_ends_the_retries_even_without_a_wait() -> None:
    ended = plan(Retry(), attempt=1, now=NOW, deadline=Instant(NOW - 1), server_wait=None, random=Lowest())

    assert RetryEnd.DEADLINE == ended


@pytest.mark.promise("R05")
@pytest.mark.parametrize("said", [1, MILLISECOND, SECOND, MINUTE + 1, DAY, MAX_DURATION])
def test_what_the_server_says_wins_over_our_own_backoff_and_its_cap(said: int) -> None:
    assert said == plain(Retry(jitter="none", max_delay=MINUTE), server_wait=said)


@pytest.mark.parametrize("said", [None, 0, -1, MAX_DURATION + 1])
def test_no_wait_or_an_absurd_one_leaves_our_own_backoff(said: int | None) -> None:
    assert plain(Retry(jitter="none"), server_wait=said) == SECOND


def test_what_the_server_says_does_not_shift_the_draws_of_a_replayed_run() -> None:
    told, untold = Random(7), Random(7)

    plan(Retry(), attempt=1, now=NOW, deadline=None, server_wait=SECOND, random=told)
    plan(Retry(), attempt=1, now=NOW, deadline=None, server_wait=None, random=untold)

    assert told.getstate() == untold.getstate()


@pytest.mark.parametrize("attempt", [0, -1])
def test_an_attempt_numbered_below_one_is_a_mistake_in_the_calling_code(attempt: int) -> None:
    with pytest.raises(UsageError, match=f"numbered from 1, and this one is {attempt}"):
        plain(Retry(), attempt, server_wait=SECOND)


def end(
    retry: Retry,
    method: str,
    *,
    key: bool = False,
    status: int | None = None,
    server_wait: bool = False,
    failure: CallFailure | None = None,
) -> RetryEnd | None:
    return end_after(retry, method, idempotency_key=key, status=status, server_wait=server_wait, failure=failure)


@pytest.mark.promise("R05")
def test_after_an_error_of_the_server_idempotent_methods_are_repeated_and_others_only_with_a_key() -> None:
    methods = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "POST", "PATCH", "CONNECT"]

    assert methods[:6] == [method for method in methods if end(Retry(), method, status=500) is None]
    assert methods == [method for method in methods if end(Retry(), method, status=500, key=True) is None]


@pytest.mark.promise("R05")
def test_a_method_is_repeated_by_explicit_choice() -> None:
    retry = Retry(methods=frozenset({"POST"}))

    assert [None, RetryEnd.METHOD] == [end(retry, method, status=500) for method in ("POST", "GET")]


@pytest.mark.promise("R05")
@pytest.mark.parametrize(
    ("failure", "idempotent", "listed", "other"),
    [
        (CallFailure.UNSENT, None, None, None),
        (CallFailure.BROKEN, None, None, RetryEnd.METHOD),
        (CallFailure.TIMEOUT, None, RetryEnd.UNCERTAIN, RetryEnd.METHOD),
        (None, None, RetryEnd.UNCERTAIN, RetryEnd.METHOD),
    ],
)
def test_a_call_without_an_answer_is_repeated_where_that_cannot_do_harm(
    failure: CallFailure | None, idempotent: RetryEnd | None, listed: RetryEnd | None, other: RetryEnd | None
) -> None:
    retry = Retry(methods=frozenset({"GET", "POST"}))

    assert [idempotent, listed, other] == [end(retry, method, failure=failure) for method in ("GET", "POST", "PATCH")]
    assert [None] * 3 == [end(retry, method, failure=failure, key=True) for method in ("GET", "POST", "PATCH")]


@pytest.mark.promise("R05")
@pytest.mark.parametrize(
    ("status", "server_wait", "expected"),
    [
        (429, False, None),
        (429, True, None),
        (503, False, RetryEnd.METHOD),
        (503, True, None),
        (502, True, RetryEnd.METHOD),
        (404, True, RetryEnd.STATUS),
    ],
)
def test_any_call_is_repeated_that_was_rejected_unprocessed(status: int, server_wait: bool, expected: RetryEnd | None) -> None:
    assert end(Retry(), "POST", status=status, server_wait=server_wait) == expected


def test_the_statuses_of_refusals_can_be_chosen_among_those_that_are_retried() -> None:
    retry = Retry(statuses=frozenset({409, 503}), safe_statuses=frozenset({409, 429}))

    assert [409] == [status for status in range(400, 600) if end(retry, "POST", status=status, server_wait=True) is None]


def test_the_case_of_a_method_does_not_matter() -> None:
    assert end(Retry(), "get", status=503) is None
    assert end(Retry(methods=frozenset({"POST"})), "post", status=503) is None


def test_transient_statuses_are_retried_and_mistakes_of_the_caller_are_not() -> None:
    retried = [status for status in range(100, 600) if end(Retry(), "GET", status=status) is None]

    assert [408, 425, 429, 500, 502, 503, 504] == retried


def test_the_statuses_can_be_chosen() -> None:
    retry = Retry(statuses=frozenset({400, HTTPStatus.CONFLICT, 599}))

    assert [400, 409, 599] == [status for status in range(100, 600) if end(retry, "GET", status=status) is None]


@pytest.mark.promise("R05")
@pytest.mark.parametrize("attempts", [1, 6])
def test_one_to_six_attempts_can_be_set(attempts: int) -> None:
    assert attempts == Retry(attempts=attempts).attempts


@pytest.mark.promise("R05")
@pytest.mark.parametrize("attempts", [0, 7, -1, True, 2.0, "3"])
def test_any_other_number_of_attempts_is_rejected(attempts: int) -> None:
    with pytest.raises(ConfigError, match=r"attempts is .*; expected a whole number from 1 to 6"):
        Retry(attempts=attempts)


@pytest.mark.parametrize("span", [Duration(0), Duration(-1), Duration(MAX_DURATION + 1), "-1s", 1.5, True, 60])
def test_delays_that_are_no_durations_are_rejected(span: Any) -> None:
    with pytest.raises(ConfigError, match="first_delay is "):
        Retry(first_delay=span, max_delay=MAX_DURATION)
    with pytest.raises(ConfigError, match="max_delay is "):
        Retry(first_delay=Duration(1), max_delay=span)


def test_the_cap_may_equal_the_first_delay_but_not_be_shorter() -> None:
    assert Retry(first_delay=SECOND, max_delay=SECOND).max_delay == SECOND

    with pytest.raises(ConfigError, match="max_delay is '999999us'; expected at least first_delay, 1s"):
        Retry(first_delay=SECOND, max_delay=Duration(SECOND - 1))


@pytest.mark.parametrize("base", [0.999, 0, -2.0, math.nan, math.inf, -math.inf, True, "2"])
def test_a_base_that_does_not_grow_or_is_not_finite_is_rejected(base: float) -> None:
    with pytest.raises(ConfigError, match=r"base is .*; expected a finite number of at least 1"):
        Retry(base=base)


@pytest.mark.parametrize("jitter", ["Full", "", None, 1, []])
def test_an_unknown_jitter_is_rejected(jitter: object) -> None:
    with pytest.raises(ConfigError, match="jitter is "):
        Retry(jitter=cast(Jitter, jitter))


@pytest.mark.parametrize("methods", ["GET", {"GET"}, frozenset({"get"}), frozenset({""}), frozenset({"G T"}), frozenset({1})])
def test_methods_that_are_not_a_frozen_set_of_upper_case_words_are_rejected(methods: frozenset[str]) -> None:
    with pytest.raises(ConfigError, match="methods is "):
        Retry(methods=methods)


def test_no_methods_at_all_can_be_set() -> None:
    assert RetryEnd.METHOD == end(Retry(methods=frozenset()), "GET", status=500)


@pytest.mark.parametrize("statuses", [503, {503}, frozenset({399}), frozenset({600}), frozenset({"503"}), frozenset({True})])
def test_statuses_that_are_not_a_frozen_set_of_error_statuses_are_rejected(statuses: frozenset[int]) -> None:
    with pytest.raises(ConfigError, match=r"^statuses is "):
        Retry(statuses=statuses)
    with pytest.raises(ConfigError, match=r"^safe_statuses is "):
        Retry(safe_statuses=statuses)
