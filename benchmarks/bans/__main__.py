"""The command line: `python -m benchmarks.bans` runs all scenarios and writes the page; options run a part and print it.

Exit status 0, and 1 if a run failed; a missed target is a result.
"""

import argparse
import gc
import logging
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.bans.calls import Missing
from benchmarks.bans.contenders import CONTENDERS
from benchmarks.bans.contract import Contender, Scenario
from benchmarks.bans.measures import Measures, measures
from benchmarks.bans.oracle import NAME as ORACLE
from benchmarks.bans.oracle import plan
from benchmarks.bans.reading import reading_us
from benchmarks.bans.report import publish, render, table, targets
from benchmarks.bans.results import Results, write
from benchmarks.bans.runner import measure
from benchmarks.bans.scenarios import SCENARIOS
from benchmarks.bans.targets import judge
from benchmarks.bans.timeline import draw
from benchmarks.machine import this_machine

_ROOT: Final = Path(__file__).resolve().parents[2]
_LATEST: Final = _ROOT / "benchmarks" / "results" / "bans.json"
_PAGE: Final = _ROOT / "docs" / "reference" / "ban-benchmark.md"
#: The scenarios whose time lines the page shows.
_DRAWN: Final = ("fixed-minute", "github", "tokens", "long-calls")
#: Of a quick run: how much shorter scenarios are.
_QUICK: Final = 6
#: Contenders that run with every seed of a scenario; the others run with the first.
_EVERY_SEED: Final = frozenset({ORACLE, "governor", "governor-unknown"})

_Work = tuple[str, str, int, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the arguments ask for."""
    options = _parser().parse_args(arguments)
    if options.list:
        print("\n".join(_listed()))
        return 0
    scenarios = [
        SCENARIOS[name]
        for name in options.scenario or SCENARIOS
        if not options.quick or SCENARIOS[name].quick or options.scenario
    ]
    contenders = [one for one in CONTENDERS if not options.contender or one.name in options.contender]
    whole = not (options.quick or options.scenario or options.contender or options.seed)
    results = _run(scenarios, contenders, seed=options.seed, part=_QUICK if options.quick else 1)
    verdicts = judge(results)
    if options.json:
        write(results, Path(options.json))
    if not whole:
        print("\n".join(f"{scenario.name}: {scenario.title}\n{table(results, scenario, contenders)}" for scenario in scenarios))
        print(targets(verdicts))
        return 0
    machine = this_machine()
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    made = f"Measured {machine.measured_at}, {machine.python}; {packages}."
    report = render(results, verdicts, scenarios, contenders, made)
    print(targets(verdicts))
    write(results, _LATEST)
    _PAGE.write_text(publish(_PAGE.read_text(), report))
    for name in _DRAWN:
        named = [("oracle", ORACLE), *((one.title, one.name) for one in contenders)]
        runs = [(title, run) for title, one in named if (run := results.first(one, name)) is not None]
        if runs:
            scenario = SCENARIOS[name]
            _PAGE.with_name(f"bans-{name}.svg").write_text(draw(f"{name}: {scenario.title}", runs, scenario.span / 30e6))
    return 0


def one(work: _Work) -> Measures | str:
    """One run in a process of its own kind; why it could not run, if a trace is missing."""
    name, contender, seed, part = work
    logging.disable(logging.CRITICAL)
    scenario = SCENARIOS[name]
    scenario = msgspec.structs.replace(scenario, span=scenario.span // part)
    try:
        if contender == ORACLE:
            return measures(plan(scenario, seed))
        return measures(measure(scenario, next(one for one in CONTENDERS if one.name == contender), seed))
    except Missing as why:
        return str(why)
    finally:
        gc.collect()


def _run(scenarios: Sequence[Scenario], contenders: Sequence[Contender], *, seed: int | None, part: int) -> Results:
    work = list(_work(scenarios, [ORACLE, *(one.name for one in contenders)], seed, part))
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


def _work(scenarios: Iterable[Scenario], contenders: Sequence[str], seed: int | None, part: int) -> Iterable[_Work]:
    for scenario in scenarios:
        for contender in contenders:
            seeds = scenario.seeds if contender in _EVERY_SEED and part == 1 else 1
            for number in [seed] if seed is not None else range(1, seeds + 1):
                yield scenario.name, contender, number, part


def _listed() -> Iterable[str]:
    yield "scenarios:"
    yield from (f"  {scenario.name:24} {scenario.title}" for scenario in SCENARIOS.values())
    yield "contenders:"
    yield from (f"  {contender.name:24} {contender.title} (knows {contender.knows})" for contender in CONTENDERS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bans", description="Run clients against models of providers that deny and ban."
    )
    add = parser.add_argument
    add(
        "--scenario", action="append", choices=[*SCENARIOS], metavar="NAME", help="this scenario and no other (may be repeated)"
    )
    names = [contender.name for contender in CONTENDERS]
    add("--contender", action="append", choices=names, metavar="NAME", help="this contender and the oracle (may be repeated)")
    add("--seed", type=int, metavar="N", help="this seed and no other")
    add("--quick", action="store_true", help="a few scenarios, shorter")
    add("--json", metavar="FILE", help="also write the figures to this file")
    add("--list", action="store_true", help="name scenarios and contenders, and stop")
    return parser


if __name__ == "__main__":
    sys.exit(main())
