"""Runs one contender in one scenario."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

import httpx2

from benchmarks.bans.calls import Call
from benchmarks.bans.contract import Clock, Contender, Job, Make, Run, Scenario
from benchmarks.bans.network import Wire
from benchmarks.bans.over_http import HttpWire, RealClock, served
from benchmarks.bans.virtual_time import SECOND, run

#: How often in the span of a scenario a run looks whether a ban outlasts it.
_LOOKS: Final = 60


def measure(scenario: Scenario, contender: Contender, seed: int) -> Run:
    """One run, in virtual time unless the scenario is one over HTTP.

    It ends after twice the span, or when a ban outlasts that: nothing is answered any more.
    """
    calls = scenario.workload(seed, scenario.span)
    provider = scenario.provider(seed, scenario.hints)
    answered: list[int | None] = [None] * len(calls)

    async def everything(clock: Clock, wire: httpx2.AsyncBaseTransport) -> None:
        async with contender.open(Job(scenario=scenario, clock=clock, wire=wire, seed=seed)) as make:
            program = asyncio.create_task(_program(make, calls, clock, answered, until=2 * scenario.span))
            while not program.done() and provider.banned_until < 2 * scenario.span:
                await asyncio.wait([program], timeout=scenario.span / _LOOKS / SECOND)
            program.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await program

    if scenario.over_http:
        clock = RealClock()
        with served(provider, calls, clock) as port:
            wire = HttpWire(port)

            async def real() -> None:
                async with wire:
                    await everything(clock, wire)

            asyncio.run(real())
    else:
        run(lambda loop: everything(loop, Wire(loop, provider, scenario.latency, seed)))
    return Run(
        scenario=scenario,
        contender=contender.name,
        seed=seed,
        calls=calls,
        answered=answered,
        log=[arrival for arrival in provider.log if arrival.at <= 2 * scenario.span],
        bans=provider.bans,
    )


async def _program(make: Make, calls: Sequence[Call], clock: Clock, answered: list[int | None], *, until: int) -> None:
    """Every call is a task that begins at its time."""
    tasks: set[asyncio.Task[None]] = set()
    try:
        for call in calls:
            await asyncio.sleep(max(0, call.at - clock.now) / SECOND)
            task = asyncio.create_task(_call(make, call, clock, answered))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(list(tasks), timeout=max(0, until - clock.now) / SECOND)
    finally:
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _call(make: Make, call: Call, clock: Clock, answered: list[int | None]) -> None:
    limit = None if call.give_up_after is None else call.give_up_after / SECOND
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit):
            if await make(call):
                answered[call.number] = clock.now
