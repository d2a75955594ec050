"""Real threads, and event loops on other threads, get what they are due, and no more."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Event
from time import monotonic
from types import FrameType

import anyio
import anyio.lowlevel
import pytest

from governor import ConcurrencyExceeded, Config, Denied, Governor, Overloaded, Permit, PermitDenied, RateLimited, Reason
from governor.policies.gcra import TokenBucketPolicy
from tests.support.answers import granted, reason
from tests.support.governors import governed
from tests.support.leases import standing_still
from tests.support.threads import all_at_once
from tests.support.waits import PATIENCE, until
from tests.support.ways import ELSEWHERE, Answer, block, waiting

pytestmark = pytest.mark.promise("R51")


# Asking.


@pytest.mark.promise("R06")
def test_of_32_threads_that_arrive_at_a_half_open_breaker_exactly_the_probes_go_through() -> None:
    with governed(scope={"breaker": {"failures": 1, "open_for": "1ms", "probes": 3, "successes": 3}}) as governor:
        granted(governor.try_permit("weather")).record(status=500)
        until(lambda: governor.statistics().scopes["weather"].breaker.probes_in == 0.0)
        answers = all_at_once(lambda _: governor.try_permit("weather"), 32)

    assert 3 == len([answer for answer in answers if isinstance(answer, Permit)])
    assert {Reason.CIRCUIT_OPEN} == {answer.reason for answer in answers if isinstance(answer, Denied)}


@pytest.mark.promise("R06")
def test_and_exactly_the_probes_when_they_may_wait_a_little() -> None:
    through: list[Permit] = []

    with governed(scope={"breaker": {"failures": 1, "open_for": "1ms", "probes": 3, "successes": 3}}) as governor:

        def ask(_: int) -> str:
            try:
                with governor.permit("weather", timeout=0.01) as permit:
                    through.append(permit)
                    leave.wait()
            except PermitDenied:
                denied.release()
            return "done"

        leave, denied = Event(), threading.Semaphore(0)
        granted(governor.try_permit("weather")).record(status=500)
        until(lambda: governor.statistics().scopes["weather"].breaker.probes_in == 0.0)
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(all_at_once, ask, 32)
            for _ in range(29):
                denied.acquire()
            leave.set()
            future.result()

    assert 3 == len(through)


@pytest.mark.promise("R02", "R04")
def test_threads_together_get_what_the_bucket_holds_and_not_one_more() -> None:
    with governed("1/day burst 50") as governor:
        answers = all_at_once(lambda _: [governor.try_permit("weather") for _ in range(20)])
        counters = governor.statistics().counters

    permits = [answer for batch in answers if isinstance(batch, list) for answer in batch if isinstance(answer, Permit)]
    assert 50 == len(permits)
    assert (50, 110) == (counters.requests, counters.denied[Reason.RATE_LIMIT])


def test_threads_and_the_loop_share_one_scope() -> None:
    async def main() -> tuple[int, int]:
        async with governed("1/day burst 50") as governor:
            own = 0

            def elsewhere() -> int:
                return sum(isinstance(governor.try_permit("weather"), Permit) for _ in range(40))

            async with anyio.create_task_group() as tasks:
                counts: list[int] = []

                async def thread() -> None:
                    counts.append(await anyio.to_thread.run_sync(elsewhere))

                tasks.start_soon(thread)
                for _ in range(40):
                    own += isinstance(governor.try_permit("weather"), Permit)
                    await anyio.lowlevel.checkpoint()
            return own, counts[0]

    own, elsewhere = anyio.run(main)

    assert 50 == own + elsewhere


@pytest.mark.promise("R03", "R04")
@pytest.mark.parametrize("timeout", [None, 3600.0])
def test_a_permit_that_a_thread_has_waited_for_and_forgotten_gives_its_place_back(timeout: float | None) -> None:
    def forget() -> None:
        governor.permit("weather", timeout=timeout).__enter__()

    with governed("1 in flight") as governor, ThreadPoolExecutor(1) as pool:
        holder = granted(governor.try_permit("weather"))
        future = pool.submit(forget)
        until(lambda: waiting(governor) == 1)
        holder.record(status=200)
        future.result(PATIENCE)
        until(lambda: governor.statistics().scopes["weather"].limits[0].available == 1)
        counters = governor.statistics().counters

    assert (2, 1, 1) == (counters.requests, counters.answered_2xx, counters.neutral)


@pytest.mark.parametrize("timeout", [1e10, 1e300])
def test_a_timeout_longer_than_the_system_can_count_is_no_mistake(timeout: float) -> None:
    with governed("1 in flight") as governor, ThreadPoolExecutor(1) as pool:
        holder = granted(governor.try_permit("weather"))
        future = pool.submit(block, governor, "weather", timeout)
        until(lambda: waiting(governor) == 1)
        holder.record(status=200)
        future.result(PATIENCE)


elsewhere = pytest.mark.parametrize("ask", ELSEWHERE.values(), ids=ELSEWHERE)


@elsewhere
def test_elsewhere_there_are_permits_and_outcomes_are_reported(ask: Callable[..., Answer]) -> None:
    with governed("1 in flight") as governor:
        answers = [ask(governor) for _ in range(20)]
        until(lambda: governor.statistics().counters.others == 20)

    assert [None] * 20 == answers


@pytest.mark.promise("R04")
def test_threads_and_tasks_of_other_loops_wait_in_one_queue_and_are_served_in_the_order_in_which_they_came() -> None:
    order: list[int] = []
    with governed("1 in flight") as governor, ThreadPoolExecutor(12) as pool:
        holder = granted(governor.try_permit("weather"))
        for number in range(12):
            ask = list(ELSEWHERE.values())[number % 3]
            pool.submit(ask, governor, use=partial(order.append, number))
            until(lambda: waiting(governor) == number + 1)  # noqa: B023 - it is called at once
        early = list(order)
        holder.record(status=200)

    assert ([], list(range(12))) == (early, order)


@elsewhere
@pytest.mark.promise("R04")
def test_elsewhere_a_wait_is_no_longer_than_its_timeout(ask: Callable[..., Answer]) -> None:
    with governed("1 in flight") as governor, granted(governor.try_permit("weather")):
        began = monotonic()
        answer = ask(governor, timeout=0.05)
        waited, left = monotonic() - began, waiting(governor)

    assert (ConcurrencyExceeded, 0) == (answer, left)
    assert 0.05 <= waited


@elsewhere
def test_elsewhere_a_wait_that_would_be_too_long_is_denied_at_once(ask: Callable[..., Answer]) -> None:
    with governed("1/day burst 1") as governor:
        granted(governor.try_permit("weather"))

        assert RateLimited is ask(governor, timeout=3600)


# Telling.


def test_outcomes_are_taken_from_any_thread() -> None:
    with governed("32 in flight", scope={"breaker": {"failures": 10**6}}) as governor:
        permits = [granted(governor.try_permit("weather")) for _ in range(32)]
        all_at_once(lambda number: permits[number].record(status=(200, 404, 429, 503)[number % 4]), 32)
        until(lambda: governor.statistics().scopes["weather"].limits[0].available == 32)
        counters = governor.statistics().counters

    assert (8, 16, 8, 8) == (counters.answered_2xx, counters.answered_4xx, counters.answered_429, counters.answered_5xx)


@pytest.mark.promise("R06")
def test_a_thread_that_has_reported_the_failure_is_not_let_through_after_it() -> None:
    with governed(scope={"breaker": {"failures": 1}}) as governor:
        granted(governor.try_permit("weather")).record(error=TimeoutError())
        answer = governor.try_permit("weather")

    assert isinstance(answer, Denied)
    assert Reason.CIRCUIT_OPEN is answer.reason


# Going wrong.


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Raises KeyboardInterrupt in the main thread, as Ctrl-C does."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(sys.platform == "win32", reason="has no interval timers")
@pytest.mark.promise("R04", "R55")
def test_a_thread_that_is_interrupted_while_it_waits_leaves_the_line() -> None:
    with governed("1 in flight") as governor:
        holder = granted(governor.try_permit("weather"))
        with pytest.raises(KeyboardInterrupt), interrupted_after(0.05), governor.permit("weather"):
            pass
        until(lambda: waiting(governor) == 0)
        holder.record(status=200)
        granted(governor.try_permit("weather"))


@pytest.mark.promise("R55")
@pytest.mark.parametrize("ask", [Governor.try_permit, Governor.permit])
def test_a_thread_whose_ask_crashes_the_actor_is_answered_at_once(
    ask: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> object:
        monkeypatch.undo()
        raise ArithmeticError("injected")

    with governed("1/day burst 2") as governor:
        granted(governor.try_permit("weather"))
        granted(governor.try_permit("weather"))
        monkeypatch.setattr(TokenBucketPolicy, "earliest", fail)
        began = monotonic()
        if ask is Governor.permit:
            with pytest.raises(Overloaded), governor.permit("weather"):
                pass
        else:
            answer = governor.try_permit("weather")
            assert isinstance(answer, Denied)
            assert Reason.OVERLOADED is answer.reason
        waited = monotonic() - began
        until(lambda: reason(governor.try_permit("weather")) is Reason.RATE_LIMIT)

    assert waited < 1.0


def test_an_inbox_that_is_full_answers_overloaded() -> None:
    """The governor's loop is kept busy, so that asks from other threads pile up."""
    config = Config.from_mapping({"global": {"max_waiting": 3}, "outbound": {"default": {"limits": []}}})
    with Governor(config) as governor, ThreadPoolExecutor(10) as pool:
        granted(governor.try_permit("weather"))
        with standing_still(governor):
            futures = [pool.submit(governor.try_permit, "weather") for _ in range(10)]
            until(lambda: sum(future.done() for future in futures) >= 7)
        answers = [future.result(PATIENCE) for future in futures]

    denied = [answer for answer in answers if isinstance(answer, Denied)]
    assert 7 == len(denied)
    assert {Reason.OVERLOADED} == {answer.reason for answer in denied}
