"""Loops that are stopped, in the statistics of their scope: in virtual time."""

from random import Random

import anyio
import pytest

from governor import Config, Governor, LoopDetected, LoopStatistics
from governor._actors import stopped_loops
from governor.testing import loop_clock
from tests.support.answers import granted

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R09")]

#: Text with half of a surrogate pair, as programs cut it.
CUT = "no \ud83d"
RULE = {"delay": "1us", "cooldown": "1m", "repeats": 3, "similar": 6}


def governed() -> Governor:
    said = {"outbound": {"default": {"limits": [], "loops": RULE}}}
    return Governor(Config.from_mapping(said), clock=loop_clock(), random=Random(1))


async def repeat(
    governor: Governor,
    body: str,
    caller: str | None = None,
    *,
    answer: bytes | str = CUT,
    times: int = 5,
    url: str = "https://chat.example/",
    status: int = 200,
) -> int:
    """The number of calls that are denied. They differ in nothing, but for numbers in `body` and `answer`."""
    denied = 0
    for number in range(times):
        fingerprint = governor.fingerprint("POST", url, body.format(number=number).encode())
        try:
            async with governor.permit("chat", "POST", caller=caller, fingerprint=fingerprint) as permit:
                permit.record(
                    status=status, answer=answer if isinstance(answer, bytes) else answer.replace("NUMBER", str(number))
                )
        except LoopDetected:
            denied += 1
        await anyio.sleep(0.01)
    return denied


def stopped(governor: Governor) -> LoopStatistics | None:
    return governor.statistics().scopes["chat:post"].loops


async def test_statistics_count_the_loops_that_are_stopped_and_name_their_callers_by_pseudonym() -> None:
    async with governed() as governor:
        granted(governor.try_permit("chat", "POST")).record(status=200)
        none = stopped(governor)
        await repeat(governor, "what now?", "agent-7")
        await repeat(governor, "attempt {number}", "agent-7", times=12)
        await repeat(governor, "what now?")
        found = stopped(governor)
        await anyio.sleep(60.0)
        over = stopped(governor)
        # The probe has the same answer, and the next call is denied again; then one has another answer.
        again = await repeat(governor, "what now?", times=2), stopped(governor)
        await anyio.sleep(60.0)
        await repeat(governor, "what now?", answer=b"yes", times=2)
        gone = stopped(governor)

    assert (None, None, None) == (none, over, gone)
    assert found is not None
    assert (3, 1, "caller") == (found.stopped, len(found.labels), found.labels[0].partition("-")[0])
    assert 59.7 < found.retry_after < 59.9
    assert (1, 1) == (again[0], again[1] and again[1].stopped)


async def test_a_loop_that_another_answer_has_ended_is_not_shown_from_its_next_call_on() -> None:
    async with governed() as governor:
        fingerprint = governor.fingerprint("POST", "https://chat.example/", b"what now?")
        async with governor.permit("chat", "POST", fingerprint=fingerprint) as under_way:
            denied = await repeat(governor, "what now?"), stopped(governor)
            under_way.record(status=200, answer=b"yes")
        granted_now = await repeat(governor, "what now?", answer=b"yes", times=1), stopped(governor)

    assert (2, 1) == (denied[0], denied[1] and denied[1].stopped)
    assert (0, None) == granted_now


async def test_who_waits_for_something_goes_on_until_it_fails_and_an_agent_that_makes_the_same_thing_anew_is_stopped() -> None:
    async with governed() as governor:
        queue, made = "https://queue.example/receive", '{"id": NUMBER, "title": "Login fails"}'
        found = [
            await repeat(governor, "{{}}", answer='{"messages":[]}', url=queue, times=30),
            await repeat(governor, "{{}}", answer='{"error":"no queue"}', url=queue, status=404),
            await repeat(governor, "Login fails", answer=made, status=201, times=12),
            await repeat(governor, "Login fails", "agent-7", answer=made, status=201, times=12),
        ]

    assert [0, 1, 0, 7] == found


async def test_an_operator_who_resets_a_scope_or_its_provider_lets_its_loops_go_on() -> None:
    async with governed() as governor:
        found = []
        for name in ("chat:post", "chat"):
            found += [await repeat(governor, "what now?"), stopped(governor) is None]
            governor.operator.reset(name)
            found += [stopped(governor) is None, await repeat(governor, "what now?", times=3)]
            await anyio.sleep(3.0)

    assert [2, False, True, 0, 2, False, True, 0] == found


async def test_of_too_many_stopped_loops_the_oldest_is_not_shown_and_is_denied_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stopped_loops, "MAX_STOPPED", 2)
    async with governed() as governor:
        for name in ("a", "b", "c"):
            await repeat(governor, name)
        found = stopped(governor)
        denied = await repeat(governor, "a", times=1)

    assert (2, 1) == (found and found.stopped, denied)


@pytest.mark.parametrize(
    ("body", "took", "denied"), [("timeout=30", 30.0, 0), ("timeout=30", 0.5, 9), ("question=why", 30.0, 9)]
)
async def test_a_long_poll_that_waits_at_the_server_is_no_loop(body: str, took: float, denied: int) -> None:
    async with governed() as governor:
        found = 0
        for _ in range(12):
            fingerprint = governor.fingerprint("POST", "https://queue.example/", body)
            try:
                async with governor.permit("queue", "POST", fingerprint=fingerprint) as permit:
                    await anyio.sleep(took)
                    permit.record(status=200, answer=b"[]")
            except LoopDetected:
                found += 1

    assert denied == found
