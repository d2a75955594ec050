"""Many runs, side by side in processes."""

import logging
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from os import cpu_count
from typing import Final

import msgspec

from benchmarks.bans.calls import Missing
from benchmarks.bans.contenders import CONTENDERS
from benchmarks.bans.contract import Contender, Said, Scenario
from benchmarks.bans.measures import Measures, measures
from benchmarks.bans.oracle import NAME as ORACLE
from benchmarks.bans.oracle import plan
from benchmarks.bans.reading import reading_us
from benchmarks.bans.results import Results
from benchmarks.bans.runner import measure
from benchmarks.bans.scenarios import SCENARIOS

#: Contenders that run with every seed of a scenario; the others run with the first.
_EVERY_SEED: Final = frozenset({ORACLE, "governor", "governor-unknown"})

_Work = tuple[str, str, int, int]


def sweep(scenarios: Sequence[Scenario], contenders: Sequence[Contender], *, seed: int | None, part: int) -> Results:
    """All runs, in a process for each processor. With a `seed` only that one; scenarios are `part` times as short.

    A sweep over all scenarios leaves out the libraries where hints are absent or wrong: few of them read any.
    """
    names = [ORACLE, *(one.name for one in contenders)]
    whole = len(scenarios) == len(SCENARIOS)
    work = [one for one in _work(scenarios, names, seed, part) if not whole or _differs(one)]
    found: list[Measures] = []
    skipped: dict[str, str] = {}
    with ProcessPoolExecutor(cpu_count(), mp_context=get_context("spawn")) as pool:
        for (name, contender, number, _), result in zip(work, pool.map(one, work), strict=True):
            if isinstance(result, str):
                skipped[name] = result
            else:
                found.append(result)
                told = f"{result.in_time:6} in time, {result.denied:6} denied, {result.bans} bans"
                print(f"{name:24} {contender:18} seed {number}: {told}", file=sys.stderr, flush=True)
    return Results(found, reading_us(), skipped)


def _differs(work: _Work) -> bool:
    return work[1] in _EVERY_SEED or SCENARIOS[work[0]].said is Said.HINTS


def _work(scenarios: Iterable[Scenario], contenders: Sequence[str], seed: int | None, part: int) -> Iterable[_Work]:
    for scenario in scenarios:
        for contender in contenders:
            seeds = scenario.seeds if contender in _EVERY_SEED and part == 1 else 1
            for number in [seed] if seed is not None else range(1, seeds + 1):
                yield scenario.name, contender, number, part


def one(work: _Work) -> Measures | str:
    """One run: a scenario, a contender, a seed, and how much shorter it is. The reason as text, if a trace is missing."""
    name, contender, seed, part = work
    scenario = SCENARIOS[name]
    scenario = msgspec.structs.replace(scenario, span=scenario.span // part)
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        if contender == ORACLE:
            return measures(plan(scenario, seed))
        return measures(measure(scenario, next(one for one in CONTENDERS if one.name == contender), seed))
    except Missing as why:
        return str(why)
    finally:
        logging.disable(before)
