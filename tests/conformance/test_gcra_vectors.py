"""The rate limiter of others that is a GCRA too: every row agrees with our token bucket, or is listed here with the reason.

Each case becomes rows of (name, what they expect, what we answer), one row for each step that says what it expects. The
listed rows must be exactly the ones that disagree. Their `per_second: n` is n per second with a burst of n.
"""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor import Config, Governor, Permit
from governor._units import MILLISECOND, NEVER, SECOND, Duration, Instant, to_seconds
from governor.policies.contract import PLAIN, Grant, Request
from governor.policies.gcra import TokenBucket, TokenBucketPolicy
from governor.testing import ManualClock
from tests.support.published import Row, agree_except

START: Final = Instant(1_000 * SECOND)

#: Nothing: theirs and ours are the same algorithm.
DIFFERS: Final[Mapping[str, str]] = {}

PROPERTIES: Final = {
    "accurate_not_until": "test_before_the_reported_instant_every_probe_is_denied_and_at_it_one_is_granted",
    "quota -> (t,tau) -> quota round trip for rate,burst in 1..9999": "test_the_bucket_behaves_as_its_quota_says_to_the_unit",
}


@pytest.mark.promise("R02")
def test_what_governor_rs_decides(vectors: Path) -> None:
    agree_except(DIFFERS, rows(load(vectors)))


def test_every_case_and_every_property_of_the_file_is_claimed(vectors: Path) -> None:
    file = load(vectors)
    shapes = [sorted(case.keys() - {"name", "per_second", "period_ms", "burst"}) for case in file["cases"]]
    parallel, loop = ["expect_all", "parallel_checks", "then"], ["each", "expect_conforming", "loop"]

    assert [["steps"]] * 7 + [parallel, loop, []] == shapes
    assert list(PROPERTIES) == [text.split(": ")[0] for text in file["properties"]]
    assert set(PROPERTIES.values()) <= globals().keys()


@pytest.mark.promise("R02")
@given(
    capacity=st.integers(1, 9999),
    steady=st.integers(0, 200),
    instants=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=10),
)
def test_before_the_reported_instant_every_probe_is_denied_and_at_it_one_is_granted(
    capacity: int, steady: int, instants: list[float]
) -> None:
    bucket = TokenBucketPolicy(TokenBucket(capacity, SECOND, capacity))
    now = START
    bucket.commit(now, Request(capacity))
    for _ in range(steady):
        now = bucket.earliest(now, PLAIN)
        bucket.commit(now, PLAIN)
    due = bucket.earliest(now, PLAIN)
    probes = [Instant(due - 1), *(Instant(now + int(part * (due - now))) for part in instants)]

    assert [False] * len(probes) == [bucket.earliest(probe, PLAIN) <= probe for probe in probes]
    # The burst at the start, then one for each 1/capacity of a second, rounded up to the microsecond: nothing adds up.
    assert START - (-(steady + 1) * SECOND // capacity) == due
    assert {due} == {bucket.earliest(probe, PLAIN) for probe in [*probes, due]}


@pytest.mark.promise("R02")
@given(rate=st.integers(1, 9999), burst=st.integers(1, 9999))
def test_the_bucket_behaves_as_its_quota_says_to_the_unit(rate: int, burst: int) -> None:
    bucket = TokenBucketPolicy(TokenBucket(rate, SECOND, burst))
    full = bucket.available(START)
    receipt = bucket.commit(START, Request(burst))
    # In debt by `rate` less one, it needs exactly `rate` more for the next.
    bucket.settle(START, Grant(START, 0, Request(burst)), receipt, rate - 1)

    assert (burst, START + SECOND) == (full, bucket.earliest(START, PLAIN))
    assert (burst, rate) == (bucket.capacity(), bucket.refill_rate())


def load(vectors: Path) -> Any:
    return json.loads((vectors / "gcra_governor.json").read_text(encoding="utf-8"))


def rows(file: Any) -> Iterator[Row]:
    for case in file["cases"]:
        if "steps" in case:
            yield from stepwise(case["name"], case["steps"], TokenBucketPolicy(quota(case)))
        elif "parallel_checks" in case:
            yield from parallel(case)
        elif "loop" in case:
            yield f"{case['name']}/{case['each']}", case["expect_conforming"], exact_waits(case)
        else:
            yield case["name"], (True, case["per_second"] - 2 * 1_000_000), huge(case)


def quota(case: Any) -> TokenBucket:
    if "period_ms" in case:
        return TokenBucket(1, Duration(case["period_ms"] * MILLISECOND), case["burst"])
    return TokenBucket(case["per_second"], SECOND, case["per_second"])


def stepwise(name: str, steps: Any, bucket: TokenBucketPolicy) -> Iterator[Row]:
    now = START
    for number, step in enumerate(steps):
        match step:
            case ["adv_ms", int(span)]:
                now = Instant(now + span * MILLISECOND)
            case ["check", expected]:
                yield f"{name}/{number}", expected, check(bucket, now)
            case ["check_n", int(cells), bool(expected)]:
                yield f"{name}/{number}", expected, check(bucket, now, cells)
            case ["check_n", int(cells), expected]:
                never = bucket.earliest(now, Request(cells)) == NEVER
                yield f"{name}/{number}", expected, f"insufficient_capacity {bucket.capacity()}" if never else never
            case ["check_remaining", expected]:
                granted = check(bucket, now)
                yield f"{name}/{number}", expected, bucket.available(now) if granted else None
            case _:
                raise AssertionError(f"the file has a step that is not known here: {step}")


def check(bucket: TokenBucketPolicy, now: Instant, cells: int = 1) -> bool:
    if bucket.earliest(now, Request(cells)) > now:
        return False
    bucket.commit(now, Request(cells))
    return True


def parallel(case: Any) -> Iterator[Row]:
    """Through the public API: threads that ask one governor at the same moment, while its clock stands still."""
    limit = f"{case['per_second']}/s burst {case['per_second']}"
    clock, threads = ManualClock(to_seconds(START)), case["parallel_checks"]
    together = Barrier(threads)
    with Governor(Config.from_mapping({"outbound": {"default": {"limits": [limit]}}}), clock=clock) as governor:

        def ask() -> bool:
            return isinstance(governor.try_permit("weather"), Permit)

        def ask_together(_: int) -> bool:
            together.wait()
            return ask()

        with ThreadPoolExecutor(threads) as pool:
            yield f"{case['name']}/all", [case["expect_all"]] * threads, list(pool.map(ask_together, range(threads)))
        for number, (what, said) in enumerate(case["then"]):
            if what == "adv_ms":
                clock.advance(said / 1000)
            else:
                yield f"{case['name']}/then/{number}", said, ask()


def exact_waits(case: Any) -> int:
    """How many rounds conform; a microsecond less than the reported wait must not do either."""
    bucket, now, conforming = TokenBucketPolicy(quota(case)), START, 0
    for _ in range(case["loop"]):
        now = Instant(now + MILLISECOND)
        if check(bucket, now):
            conforming += 1
            continue
        now = bucket.earliest(now, PLAIN)
        conforming += not check(bucket, Instant(now - 1)) and check(bucket, now)
    return conforming


def huge(case: Any) -> tuple[bool, int]:
    """2 x 1000 single checks in place of 2 threads with 1000000 each, at one instant; the rest of theirs is one request."""
    bucket = TokenBucketPolicy(quota(case))
    granted = all(check(bucket, START) for _ in range(2 * 1_000)) and check(bucket, START, 2 * (1_000_000 - 1_000))
    return granted, bucket.available(START)
