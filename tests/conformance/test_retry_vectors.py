"""Retry schedules and retry budgets of others: every row agrees with ours, or is listed here with the reason why it does not.

Each file becomes rows of (name, what they expect, what we answer). The listed rows must be exactly the ones that disagree.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any, Final

from governor._units import MILLISECOND, MINUTE, SECOND, Duration, Instant, from_seconds
from governor.errors import ConfigError
from governor.policies.retry import Retry, RetryEnd, end_after, plan
from governor.policies.retry_budget import RetryBudget, RetryBudgetPolicy
from tests.support.published import Row, agree_except

NOW: Final = Instant(1_000 * SECOND)

#: A column of every AWS step that we have nothing to compare with; what follows from it, the outcome, is compared.
NOT_COMPARED: Final = {"retry_quota": "they count tokens of 1/14 (throttling: 1/5) of a retry, and we count whole retries"}

AWS_DIFFERS: Final = {
    "cases/quota recovers after successes": "a success gives nothing back to our budget: requests pay into it, and time does",
    "cases/throttling drains 5 and waits 1 s": "the word in the body of a 400 tells us nothing: method and status decide",
    "cases/retry-after 10000": "they clamp to 5 s beyond their own backoff; we wait as long as the server says",
    "cases/retry-after 10": "they wait for their own backoff at least; we come back when the server says",
    "cases/long-poll operation with empty quota: sleep the backoff once, then fail (no retry)": "we fail without the sleep",
    "token_timing_series/transient mixed": "one schedule for each scope: ours has no scale of its own for throttling",
    "token_timing_series/throttling mixed": "one schedule for each scope: ours has no scale of its own for throttling",
}

GRPC_DIFFERS: Final = {
    "rules/max_attempts_cap": "theirs is 5 and ours 6, so that an operation makes 5 retries at most",
    "rules/pushback_ms/negative_or_unparsable": "an unreadable header says nothing: our own backoff goes on",
    "throttling_case/3": "they stop at half of their tokens, first attempts counted; we stop when the retries are used up",
    "throttling_case/11": "they stop at half of their tokens, first attempts counted; we stop when the retries are used up",
}

FINAGLE_DIFFERS: Final = {
    "infinite": "we have no budget without an end, and no balance of 100 for one",
    "invalid/{'ttl_s': 61}": "our window may be as long as an hour",
    "leaky_bucket/2": "ours gives back after exactly one window, theirs in lazily aligned tenths: see the quirk in the file",
    "bounded_bucket/1": "ours has no cap on what requests have paid in: it expires with the window",
}


def test_the_aws_standard_retry_of_2026(vectors: Path) -> None:
    agree_except(AWS_DIFFERS, aws_rows(load(vectors, "aws_retry_standard_v2_1.json")))


def test_grpc_retries_and_their_throttle(vectors: Path) -> None:
    agree_except(GRPC_DIFFERS, grpc_rows(load(vectors, "grpc_retry_throttle.json")))


def test_finagle_retry_budgets(vectors: Path) -> None:
    agree_except(FINAGLE_DIFFERS, finagle_rows(load(vectors, "retry_budget_finagle.json")))


def test_every_part_of_the_files_is_either_compared_or_says_where_it_comes_from(vectors: Path) -> None:
    described = {"kind", "spec", "sources", "constants", "defaults", "rules"}
    finagle = "frozen_clock_cases above_100_percent empty infinite invalid leaky_bucket bounded_bucket"
    compared = {
        "aws_retry_standard_v2_1.json": {"cases", "backoff_series", "token_timing_series"},
        "grpc_retry_throttle.json": {"throttling_case", "unary_case"},
        "retry_budget_finagle.json": set(finagle.split()),
    }

    assert compared == {name: set(load(vectors, name)) - described for name in compared}


def test_the_leaky_bucket_of_finagle_differs_at_three_seconds_and_nowhere_else(vectors: Path) -> None:
    case = load(vectors, "retry_budget_finagle.json")["leaky_bucket"][2]
    expected, actual = leaky_bucket(case)

    # Steps 0 to 9 are in the first 3 seconds; step 10 asks at t = 3 s, when what was spent at t = 0 has just left our window.
    assert [10] == [step for step, _ in enumerate(expected) if expected[step] != actual[step]]


def load(vectors: Path, name: str) -> Any:
    return json.loads((vectors / name).read_text(encoding="utf-8"))


def aws_rows(file: Any) -> Iterator[Row]:
    for case in file["cases"]:
        yield f"cases/{case['name']}", *aws_case(case, file["constants"])

    series = file["backoff_series"]
    scale, longest = from_seconds(series["non_throttling"][0], field=""), from_seconds(series["max_backoff_s"], field="")
    retry = Retry(first_delay=scale, max_delay=longest, jitter="none")
    delays = [retry.backoff(attempt, Random(1)) for attempt in range(1, len(series["non_throttling"]) + 1)]
    yield "backoff_series/non_throttling", [round(seconds * SECOND) for seconds in series["non_throttling"]], delays

    uniform = series["uniformity_test"]
    full, random = Retry(first_delay=scale, max_delay=longest, jitter="full"), Random(20)
    seconds = Counter(full.backoff(uniform["attempt"], random) // SECOND for _ in range(uniform["samples"]))
    even = uniform["samples"] / series["max_backoff_s"]
    flat = [abs(seconds[second] - even) <= even * uniform["tolerance"] for second in range(series["max_backoff_s"])]
    yield "backoff_series/uniformity_test", [True] * series["max_backoff_s"], flat

    for mixed in file["token_timing_series"]:
        delays = [retry.backoff(attempt, Random(1)) for attempt in range(1, len(mixed["delays_ms"]) + 1)]
        yield f"token_timing_series/{mixed['name']}", [ms * MILLISECOND for ms in mixed["delays_ms"]], delays


def aws_case(case: Any, constants: Any) -> tuple[list[object], list[object]]:
    """Their quota, worth so many whole retries, becomes the floor of a budget that nothing else pays into."""
    retry = Retry(
        attempts=case.get("max_attempts", constants["max_attempts_default"]),
        first_delay=from_seconds(
            case.get("non_throttling_base_scale_s", constants["backoff_scale_s"]["non_throttling"]), field="first_delay"
        ),
        max_delay=from_seconds(constants["backoff_max_s"], field="max_delay"),
        jitter="none",
    )
    floor = case.get("initial_quota", constants["quota_initial"]) // constants["cost_retry"]
    budget = RetryBudgetPolicy(RetryBudget(share=0, floor=floor, window=MINUTE))
    expected: list[object] = []
    actual: list[object] = []
    attempt = 1
    for step in case["steps"]:
        theirs = step["expect"]
        assert {"outcome", "delay_s"} >= theirs.keys() - NOT_COMPARED.keys()
        expected.append((theirs["outcome"], None if "delay_s" not in theirs else round(theirs["delay_s"] * SECOND)))
        outcome, delay = aws_step(retry, budget, attempt, step["response"])
        actual.append((outcome, delay))
        attempt = attempt + 1 if outcome == "retry_request" else 1
    return expected, actual


def aws_step(retry: Retry, budget: RetryBudgetPolicy, attempt: int, response: Any) -> tuple[str, Duration | None]:
    if response["status"] == 200:
        return "success", None
    if end_after(retry, "GET", idempotency_key=False, status=response["status"], server_wait=False, failure=None):
        return "not_retryable", None
    said = response.get("retry_after_ms", "")
    wait = Duration(int(said) * MILLISECOND) if said.isdecimal() else None
    planned = plan(retry, attempt=attempt, now=NOW, deadline=None, server_wait=wait, random=Random(1))
    if isinstance(planned, RetryEnd):
        return "max_attempts_exceeded", None
    return ("retry_request", planned) if budget.withdraw(NOW) else ("retry_quota_exceeded", None)


def grpc_rows(file: Any) -> Iterator[Row]:
    rejected = None
    try:
        Retry(attempts=file["rules"]["max_attempts_cap"] + 1)
    except ConfigError as error:
        rejected = error.field
    yield "rules/max_attempts_cap", "attempts", rejected
    for rule, said, expected in (("n", 7 * MILLISECOND, 7 * MILLISECOND), ("negative_or_unparsable", -1, None)):
        own = Retry(jitter="none")
        planned = plan(own, attempt=1, now=NOW, deadline=None, server_wait=Duration(said), random=Random(1))
        yield f"rules/pushback_ms/{rule}", expected, planned

    # An idle client of theirs makes 4 retries before it comes down to half of its 10 tokens.
    throttled = file["throttling_case"]
    budget = RetryBudgetPolicy(RetryBudget(share=throttled["token_ratio"], floor=4, window=MINUTE))
    good = dict.fromkeys(throttled["server_ok_at_call_index"], "OK")
    begin = 0
    for number, call in enumerate(throttled["calls"]):
        budget.deposit(NOW)
        theirs = (call["expect"], call["last_server_index"])
        yield f"throttling_case/{number}", theirs, grpc_call(throttled, budget, good, begin, "UNAVAILABLE")
        # Each call begins where theirs did, so that one difference does not shift the rows after it.
        begin = call["last_server_index"] + 1

    unary = file["unary_case"]
    ends = dict.fromkeys(unary["server_ok"], "OK") | dict.fromkeys(unary["server_fatal"], "INTERNAL")
    plenty = RetryBudgetPolicy(RetryBudget(floor=1_000))
    begin = 0
    for number, (code, index) in enumerate(unary["calls"]):
        yield f"unary_case/{number}", (code, index), grpc_call(unary, plenty, ends, begin, "ALREADY_EXISTS")
        begin = index + 1


def grpc_call(case: Any, budget: RetryBudgetPolicy, ends: Mapping[int, str], begin: int, retryable: str) -> tuple[str, int]:
    """The code and the server's call index that one call ends with; `ends` says at which indices no retry is due."""
    retry = Retry(attempts=case["max_attempts"])
    attempt = 1
    while begin + attempt - 1 not in ends:
        planned = plan(retry, attempt=attempt, now=NOW, deadline=None, server_wait=None, random=Random(1))
        if isinstance(planned, RetryEnd) or not budget.withdraw(NOW):
            return retryable, begin + attempt - 1
        attempt += 1
    return ends[begin + attempt - 1], begin + attempt - 1


def finagle_rows(file: Any) -> Iterator[Row]:
    for number, case in enumerate(file["frozen_clock_cases"]):
        budget = finagle_budget(case["ttl_s"], case["ttl_s"] * case["min_retries_per_s"], case["percent"])
        initial = budget.balance(NOW)
        retries = 0
        for _ in range(case["requests"]):
            budget.deposit(NOW)
            retries += budget.withdraw(NOW)
        near = abs(retries - case["expect_retries"]) <= case["tolerance"]
        yield f"frozen_clock_cases/{number}", (case["initial_balance"], True), (initial, near)

    case = file["above_100_percent"]
    budget = finagle_budget(60, 0, case["percent"])
    budget.deposit(NOW, case["deposits"])
    yield "above_100_percent", case["expect_balance"], budget.balance(NOW)

    budget = finagle_budget(60, 0, 0)
    empty: dict[str, object] = {"balance": budget.balance(NOW), "withdraw": budget.withdraw(NOW)}
    budget.deposit(NOW)
    yield "empty", file["empty"], {**empty, "after_deposit_balance": budget.balance(NOW)}

    budget = RetryBudgetPolicy(RetryBudget(share=1000, floor=10**12))
    yield "infinite", file["infinite"], {"balance": budget.balance(NOW), "withdraw": budget.withdraw(NOW)}

    for case in file["invalid"]:
        rejected = False
        try:
            finagle_budget(case.get("ttl_s", 10), case.get("min_retries_per_s", 0), case.get("percent", 0.2))
        except ConfigError:
            rejected = True
        yield f"invalid/{case}", True, rejected

    for number, case in enumerate(file["leaky_bucket"]):
        yield f"leaky_bucket/{number}", *leaky_bucket(case)
    for number, case in enumerate(file["bounded_bucket"]):
        yield f"bounded_bucket/{number}", *bounded_bucket(case)


def finagle_budget(ttl: float, floor: int, percent: float) -> RetryBudgetPolicy:
    return RetryBudgetPolicy(RetryBudget(share=percent, floor=floor, window=from_seconds(ttl, field="window")))


def leaky_bucket(case: Any) -> tuple[list[object], list[object]]:
    """What is put in and not taken out is gone after the time to live."""
    budget, now = finagle_budget(case["ttl_s"], case["reserve"], 1.0), NOW
    expected: list[object] = []
    actual: list[object] = []
    for what, number, *answer in case["steps"]:
        expected.append(answer)
        actual.append([])
        match what:
            case "put":
                budget.deposit(now, number)
            case "get":
                actual[-1] = [budget.withdraw(now, number)]
            case "advance_s":
                now = Instant(now + number * SECOND)
            case _:
                raise AssertionError(f"the file has a step that is not known here: {what}")
    return expected, actual


def bounded_bucket(case: Any) -> tuple[list[object], list[object]]:
    """After each step, the count; theirs is capped."""
    budget = finagle_budget(60, 0, 1.0)
    expected: list[object] = []
    actual: list[object] = []
    for what, number, told, count in case["steps"]:
        if what == "put":
            budget.deposit(NOW, number)
        expected.append((told, count))
        actual.append((told if what == "put" else budget.withdraw(NOW, number), budget.balance(NOW)))
    return expected, actual
