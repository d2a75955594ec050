"""The oracle: knows the provider's state, the way of each request, and what will arrive. No request of it is denied.

It is computed, not run, and does not know which calls the program will give up. Calls of one method and key go first come,
first served; of several that wait for different limits, the one whose limit is free first goes first. It is a bound for clients
that are fair in this sense. With costs that differ, a client that lets cheap calls overtake others may answer more.
"""

from collections import deque
from typing import Final

from benchmarks.bans.calls import Call
from benchmarks.bans.contract import Run, Scenario
from benchmarks.bans.limits import NEVER
from benchmarks.bans.provider import OK

NAME: Final = "oracle"


def plan(scenario: Scenario, seed: int) -> Run:
    """The run of the oracle."""
    calls = scenario.workload(seed, scenario.span)
    provider = scenario.provider(seed, scenario.hints)
    queues: dict[tuple[str, str], deque[Call]] = {}
    for call in calls:
        queues.setdefault((call.method, call.key), deque()).append(call)
    answered: list[int | None] = [None] * len(calls)
    now = 0
    while queues:
        arrival, _, kind = min(
            (provider.earliest(max(now, queue[0].at + _way(scenario, seed, queue[0])[0]), queue[0]), queue[0].at, kind)
            for kind, queue in queues.items()
        )
        if arrival > 2 * scenario.span:
            break
        queue = queues[kind]
        call = queue.popleft()
        if not queue:
            del queues[kind]
        end = arrival + call.service + _way(scenario, seed, call)[1]
        if arrival >= NEVER or _given_up(call, arrival - _way(scenario, seed, call)[0]):
            continue
        now = arrival
        answer = provider.arrive(arrival, call)
        if answer.status != OK:
            raise AssertionError(f"the oracle was answered {answer.status} at {arrival}")
        if end <= 2 * scenario.span and not _given_up(call, end):
            answered[call.number] = end
    return Run(
        scenario=scenario, contender=NAME, seed=seed, calls=calls, answered=answered, log=provider.log, bans=provider.bans
    )


def _way(scenario: Scenario, seed: int, call: Call) -> tuple[int, int]:
    return scenario.latency.draw(seed, call.number, 0)


def _given_up(call: Call, now: int) -> bool:
    return call.give_up_after is not None and now > call.at + call.give_up_after
