"""Each call in a queue of different costs is served at the instant that was named for its place."""

from dataclasses import dataclass, field
from random import Random

import anyio
import pytest

from governor import Denied, Governor, PermitDenied
from tests.support.governors import in_virtual_time

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R04", "R10")]

#: How late the alarms of a queue may be in all: a microsecond each.
LATE = 0.001

MIXES = [
    ["4 per 15s strict"],
    ["7/10s burst 5"],
    ["1/s burst 4", "10 per 100s strict"],
    ["20 tokens per 30s strict", "3/s burst 5"],
    ["900 tokens/minute burst 30", "5 per 10s strict", "40 per minute strict"],
    ["7/3s burst 4", "50 tokens/7s burst 21", "11 per 13s strict"],
]


def costs_of(random: Random) -> dict[str, int]:
    return {"requests": random.randint(1, 4), "tokens": random.randint(0, 20)}


@dataclass
class Story:
    """Who came with which cost and timeout, what they were told before, and what became of them."""

    told: list[float] = field(default_factory=list)
    served: dict[int, float] = field(default_factory=dict)
    denied: dict[int, float] = field(default_factory=dict)


async def play(limits: list[str], seed: int, patient: frozenset[int] = frozenset()) -> Story:
    """Lets a queue grow. Those who are `patient` wait as long as it takes, whatever their timeout was."""
    random, story, began = Random(seed), Story(), anyio.current_time()

    async def come(governor: Governor, number: int, cost: dict[str, int], timeout: float | None) -> None:
        try:
            async with governor.permit("llm", cost=cost, timeout=timeout):
                story.served[number] = anyio.current_time() - began
        except PermitDenied:
            story.denied[number] = anyio.current_time() - began

    async with in_virtual_time(*limits, requests_per_minute=10**9) as governor, anyio.create_task_group() as tasks:
        for number in range(30):
            cost = costs_of(random)
            timeout = random.choice([None, random.uniform(1, 60)])
            answer = governor.try_permit("llm", cost=cost)
            story.told.append(anyio.current_time() - began)
            if isinstance(answer, Denied):
                assert answer.retry_after is not None
                story.told[-1] += answer.retry_after
                tasks.start_soon(come, governor, number, cost, None if number in patient else timeout)
                await anyio.wait_all_tasks_blocked()
            else:
                story.served[number] = anyio.current_time() - began
                answer.record(status=200)
            if random.random() < 0.2:
                await anyio.sleep(random.uniform(0, 5))
    return story


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("limits", MIXES, ids=" and ".join)
async def test_a_call_is_served_at_the_instant_that_was_named_and_a_denied_one_would_not_have_been_in_time(
    limits: list[str], seed: int
) -> None:
    story = await play(limits, seed)

    late = {number: story.served[number] - story.told[number] for number in story.served}
    assert {} == {number: by for number, by in late.items() if not 0 <= by + 1e-6 <= LATE}
    for number in sorted(story.denied)[seed::3]:
        # A third of them, and each seed begins with another: each takes a play of its own, in which the others come and wait as
        # before up to here. Later ones see a longer queue, and change nothing for this one.
        patient = await play(limits, seed, patient=frozenset({number}))
        timeout = story.told[number] - story.denied[number]
        assert patient.served[number] == pytest.approx(story.told[number], abs=LATE)
        assert timeout > 0


async def test_the_queue_of_the_report() -> None:
    """One of four used; a request for four waits, and one behind it with 20 s would wait 30."""
    answers: dict[str, float | str] = {}

    async def come(governor: Governor, name: str, cost: int, timeout: float | None) -> None:
        try:
            async with governor.permit("llm", cost=cost, timeout=timeout):
                answers[name] = anyio.current_time()
        except PermitDenied as denial:
            answers[name] = f"denied at {anyio.current_time():g}, told {denial.retry_after:g}"

    async with in_virtual_time("4 per 15s strict", requests_per_minute=10**9) as governor, anyio.create_task_group() as tasks:
        governor.try_permit("llm").record(status=200)  # type: ignore[union-attr]  # a permit
        for name, cost, timeout in (("A", 4, None), ("B", 1, 20.0), ("C", 1, 31.0)):
            tasks.start_soon(come, governor, name, cost, timeout)
            await anyio.wait_all_tasks_blocked()

    assert {"A": pytest.approx(15.0, abs=LATE), "B": "denied at 0, told 30", "C": pytest.approx(30.0, abs=LATE)} == answers
