"""Hooks keep out of the way of real threads, event loops and the end of a program."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event as Flag

import anyio
import anyio.to_thread
import pytest

from governor import Config, Denied, Governor
from governor.instrumentation import AnyEvent, CallDenied, LeaseRevoked
from governor.testing import ManualClock
from tests.support.leases import ahead, governed
from tests.support.programs import run
from tests.support.waits import PATIENCE, until

ONE_CALL = Config.from_mapping({"outbound": {"default": {"limits": ["1/hour burst 1"]}}})


@pytest.mark.promise("R51")
def test_permits_that_are_taken_back_are_announced_with_their_number() -> None:
    told: list[AnyEvent] = []
    with governed("800/minute burst 800", clock=ManualClock()) as governor, ThreadPoolExecutor(1) as pool:
        governor.add_hook(told.append)
        with ahead(governor, "weather") as (actors, _):
            leased = len(actors[0].leasing.holder)
            # Asked before the loop goes on, which would look after the lease by itself a moment later.
            pool.submit(governor.try_permit, "weather", cost=800)
            until(lambda: len(actors[0].inbox) > 0)
        # Leaving delivers events for one second at most, which a busy machine may need for other things.
        until(lambda: any(isinstance(event, LeaseRevoked) for event in told))

    assert [("weather", leased)] == [(event.scope, event.permits) for event in told if isinstance(event, LeaseRevoked)]


@pytest.mark.anyio
async def test_leaving_does_not_wait_for_a_thread_of_the_program_to_be_free() -> None:
    go_on = Flag()
    told: list[AnyEvent] = []
    limiter = anyio.to_thread.current_default_thread_limiter()
    async with anyio.create_task_group() as tasks:
        for _ in range(int(limiter.total_tokens)):
            tasks.start_soon(anyio.to_thread.run_sync, go_on.wait, 30)
        while limiter.available_tokens:
            await anyio.lowlevel.checkpoint()
        async with Governor(ONE_CALL, hooks=[told.append], clock=ManualClock()) as governor:
            governor.try_permit("weather")
            governor.try_permit("weather")
        in_time = not go_on.is_set()
        go_on.set()

    assert (True, [CallDenied]) == (in_time, [type(event) for event in told])


@pytest.mark.promise("R55")
def test_leaving_does_not_wait_for_a_hook_that_never_comes_back() -> None:
    begun, go_on = Flag(), Flag()

    def block(event: AnyEvent, /) -> None:
        begun.set()
        go_on.wait(PATIENCE)

    with Governor(ONE_CALL, hooks=[block], clock=ManualClock()) as governor:
        governor.try_permit("weather")
        governor.try_permit("weather")
        begun.wait(PATIENCE)
    in_time = not go_on.is_set()
    go_on.set()

    assert in_time


def test_a_hook_may_ask_the_governor() -> None:
    answers: list[object] = []
    asked = Flag()

    def ask(event: AnyEvent, /) -> None:
        if not answers:
            answers.append(governor.statistics().counters.denied)
            answers.append(type(governor.try_permit("weather")))
            asked.set()

    with Governor(ONE_CALL, hooks=[ask], clock=ManualClock()) as governor:
        governor.try_permit("weather")
        governor.try_permit("weather")
        asked.wait(PATIENCE)

    assert [{"rate_limit_exceeded": 1}, Denied] == answers


def test_an_announcement_may_be_interrupted_by_another_one() -> None:
    """Finalizers and signal handlers run anywhere, and what they do may be announced as well."""
    told: list[AnyEvent] = []
    with Governor(ONE_CALL, hooks=[told.append], clock=ManualClock()) as governor:
        announcer = governor._listeners.announcer
        clock = announcer._wall_clock

        def interrupt() -> float:
            announcer._wall_clock = clock
            governor.try_permit("traffic", cost=2)
            return clock()

        def announce() -> None:
            announcer._wall_clock = interrupt
            governor.try_permit("weather", cost=2)

        governor._access.running().call(announce)

    assert ["traffic", "weather"] == [event.scope for event in told if isinstance(event, CallDenied)]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no private folders")
def test_what_the_governor_of_the_process_has_told_is_written_when_the_program_ends(tmp_path: Path) -> None:
    program = """
        from governor import default
        for _ in range(1_001):
            default().try_permit("weather")
    """
    run(
        program,
        ENABLE_TRAFFIC_CONTROL_LOGGING="1",
        TRAFFIC_CONTROL_LOG_DIR=str(tmp_path / "logs"),
        GOVERNOR__OUTBOUND__DEFAULT__LIMITS="['1/hour burst 1']",
    )
    (path,) = (tmp_path / "logs").iterdir()

    assert 1_000 == path.read_text(encoding="utf-8").count("call_denied")
