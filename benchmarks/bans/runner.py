"""Runs one contender in one scenario, in virtual time."""

import asyncio

from benchmarks.bans.calls import Call
from benchmarks.bans.contract import Contender, Job, Make, Run, Scenario
from benchmarks.bans.network import Wire
from benchmarks.bans.virtual_time import SECOND, VirtualLoop, run


def measure(scenario: Scenario, contender: Contender, seed: int) -> Run:
    """One run: every call is a task that begins at its time. What has no answer after twice the span is cancelled."""
    calls = scenario.workload(seed, scenario.span)
    provider = scenario.provider(seed, scenario.hints)
    answered: list[int | None] = [None] * len(calls)

    async def program(loop: VirtualLoop) -> None:
        wire = Wire(loop, provider, scenario.latency, seed)
        async with contender.open(Job(scenario=scenario, loop=loop, wire=wire, seed=seed)) as make:
            tasks = set()
            for call in calls:
                await asyncio.sleep(max(0, call.at - loop.now) / SECOND)
                task = asyncio.create_task(_make(loop, make, call, answered))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            if tasks:
                await asyncio.wait(list(tasks), timeout=(2 * scenario.span - loop.now) / SECOND)
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    run(program)
    return Run(
        scenario=scenario,
        contender=contender.name,
        seed=seed,
        calls=calls,
        answered=answered,
        log=[arrival for arrival in provider.log if arrival.at <= 2 * scenario.span],
        bans=provider.bans,
    )


async def _make(loop: VirtualLoop, make: Make, call: Call, answered: list[int | None]) -> None:
    if call.give_up_after is None:
        if await make(call):
            answered[call.number] = loop.now
        return
    try:
        async with asyncio.timeout(call.give_up_after / SECOND):
            if await make(call):
                answered[call.number] = loop.now
    except TimeoutError:
        pass
