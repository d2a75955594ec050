"""What a client can reach that must never be denied: `python -m benchmarks.bans.controls`.

Computed, as the oracle is. The client knows the limits, and how long requests take to arrive at least and at most. It does not
know when a window of the provider begins, when a request will arrive, nor how many tokens an answer will have. So it sends a
request only if no window holds too many, however the windows lie and whenever the requests on the way arrive, and reserves the
tokens that an answer may have. It sends each request at the first such instant, first come, first served, without any other
loss: a client that does better is denied in some run.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from math import ceil
from typing import Final

import msgspec

from benchmarks.bans.calls import POST, Call
from benchmarks.bans.contract import Run, Scenario
from benchmarks.bans.limits import NEVER, Bucket, Limit, SlidingWindow, seconds
from benchmarks.bans.measures import measures
from benchmarks.bans.oracle import plan
from benchmarks.bans.provider import OK, Arrival
from benchmarks.bans.scenarios import SCENARIOS
from benchmarks.bans.virtual_time import SECOND


class Window(msgspec.Struct):
    """A window over the calls that count in it, with the instants from which its uses certainly count no more."""

    amount: int
    per: int
    counts: Callable[[Call], bool] = lambda call: True
    free_at: list[int] = []

    def earliest(self, now: int) -> int:
        """The first instant from `now` on with room for another one."""
        while len(self.free_at) >= self.amount:
            now = max(now, heappop(self.free_at))
        return now


def windows(scenario: Scenario, seed: int, limits: Sequence[Window], latest: int | None = None) -> Run:
    """Calls under windows. A call that counts in none is sent at once. `latest`: so late a request may arrive, if more."""
    calls, soonest = scenario.workload(seed, scenario.span), scenario.latency.base
    latest = scenario.latency.base + scenario.latency.jitter if latest is None else latest
    answered: list[int | None] = [None] * len(calls)
    log: list[Arrival] = []
    order = dict.fromkeys((False, True), 0)
    for call in calls:
        there, back = scenario.latency.draw(seed, call.number, 0)
        counting = [window for window in limits if window.counts(call)]
        sent = max(call.at, order[bool(counting)])
        for window in counting:
            sent = window.earliest(sent)
        order[bool(counting)] = sent
        leaves = NEVER if call.give_up_after is None else call.at + call.give_up_after
        if sent > leaves:
            continue
        log.append(Arrival(sent + there, call.number, OK))
        begins, ends = (sent + there + span + back for span in (call.head, call.service))
        arrived = min(sent + latest, begins) if begins <= leaves else sent + latest
        for window in counting:
            heappush(window.free_at, arrived + window.per - soonest)
        answered[call.number] = ends if ends <= min(leaves, 2 * scenario.span) else None
    return _run(scenario, seed, calls, answered, log)


def bucket(scenario: Scenario, seed: int) -> Run:
    """Calls of `bucket`: what the provider gains while requests vary on their way is no part of the burst here."""
    limit = Bucket(100, seconds(1), 100 - ceil(100 * scenario.latency.jitter / SECOND))
    calls = scenario.workload(seed, scenario.span)
    answered: list[int | None] = [None] * len(calls)
    log: list[Arrival] = []
    sent = 0
    for call in calls:
        there, back = scenario.latency.draw(seed, call.number, 0)
        sent = limit.earliest(max(sent, call.at), 1)
        limit.spend(sent, 1, sent)
        log.append(Arrival(sent + there, call.number, OK))
        answered[call.number] = sent + there + call.service + back
    return _run(scenario, seed, calls, answered, log)


def reserving(scenario: Scenario, seed: int) -> Run:
    """Calls of `tokens-used`: what an answer may have is reserved until it has ended. When requests arrive is known here."""
    calls = scenario.workload(seed, scenario.span)
    minute = seconds(60)
    output = Bucket(60_000, minute, 60_000)
    limits: list[tuple[Limit, Callable[[Call], int]]] = [
        (SlidingWindow(300, minute), lambda call: 1),
        (Bucket(450_000, minute, 450_000), lambda call: call.prompt),
    ]
    answered: list[int | None] = [None] * len(calls)
    reserved: list[tuple[int, int]] = []
    log: list[Arrival] = []
    held = now = 0
    for call in calls:
        there, back = scenario.latency.draw(seed, call.number, 0)
        at = max(now, call.at + there)
        while True:
            while reserved and reserved[0][0] <= at:
                held -= heappop(reserved)[1]
            due = max(limit.earliest(at, cost(call)) for limit, cost in limits)
            due = max(due, output.earliest(at, held + call.max_tokens))
            if due <= at:
                break
            at = min(due, reserved[0][0] if reserved else due)
        for limit, cost in limits:
            limit.spend(at, cost(call), at)
        output.spend(at, call.output, at)
        log.append(Arrival(at, call.number, OK))
        end = at + call.service + back
        held += call.max_tokens - call.output
        heappush(reserved, (end, call.max_tokens - call.output))
        answered[call.number], now = end if end <= 2 * scenario.span else None, at
    return _run(scenario, seed, calls, answered, log)


def _run(scenario: Scenario, seed: int, calls: Sequence[Call], answered: list[int | None], log: list[Arrival]) -> Run:
    log.sort(key=lambda arrival: arrival.at)
    return Run(scenario=scenario, contender="cautious", seed=seed, calls=calls, answered=answered, log=log, bans=[])


def _is_post(call: Call) -> bool:
    return call.method == POST


#: The control of each scenario in which the governor misses a target.
CONTROLS: Final[dict[str, Callable[[Scenario, int], Run]]] = {
    "fixed-minute": lambda scenario, seed: windows(scenario, seed, [Window(60, seconds(60))]),
    "by-the-second": lambda scenario, seed: windows(scenario, seed, [Window(10, seconds(1))]),
    "bucket": bucket,
    "github": lambda scenario, seed: windows(
        scenario, seed, [Window(80, seconds(60), _is_post), Window(500, seconds(3600), _is_post)]
    ),
    "tokens-used": reserving,
    "given-up": lambda scenario, seed: windows(scenario, seed, [Window(20, seconds(1))]),
    "over-http": lambda scenario, seed: windows(scenario, seed, [Window(40, seconds(2))], seconds(2)),
}


def compare(name: str, seed: int) -> tuple[float, float]:
    """The calls answered in time and the p95 of delays, to those of the oracle."""
    found, best = (measures(make(SCENARIOS[name], seed)) for make in (CONTROLS[name], plan))
    return found.in_time / best.in_time, found.delays[1] / max(best.delays[1], 1.0)


def _lines(seeds: Sequence[int]) -> Iterator[str]:
    yield "| scenario | seed | answered in time, to the oracle | delay p95, to the oracle |"
    yield "| --- | --- | --- | --- |"
    for name in CONTROLS:
        for seed in seeds:
            answered, delay = compare(name, seed)
            yield f"| `{name}` | {seed} | {answered:.4f} | {delay:.3f} times |"


if __name__ == "__main__":
    print("\n".join(_lines([int(word) for word in sys.argv[1:]] or [1, 2])))
