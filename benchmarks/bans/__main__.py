"""The command line: `python -m benchmarks.bans` runs all scenarios and writes the page; options run a part and print it.

Exit status 0, and 1 if a run failed; a missed target is a result.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.bans.contenders import CONTENDERS
from benchmarks.bans.oracle import NAME as ORACLE
from benchmarks.bans.report import publish, render, table, targets
from benchmarks.bans.results import merged, read, write
from benchmarks.bans.scenarios import SCENARIOS
from benchmarks.bans.sweep import sweep
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
    chosen = options.update or options.contender
    contenders = [one for one in CONTENDERS if not chosen or one.name in chosen]
    whole = not (options.quick or options.scenario or options.contender or options.seed)
    results = sweep(scenarios, contenders, seed=options.seed, part=_QUICK if options.quick else 1)
    if options.update:
        results, contenders = merged(results, read(_LATEST), options.update), list(CONTENDERS)
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
    add("--update", action="append", choices=names, metavar="NAME", help="measure this one anew, and keep the others' figures")
    add("--json", metavar="FILE", help="also write the figures to this file")
    add("--list", action="store_true", help="name scenarios and contenders, and stop")
    return parser


if __name__ == "__main__":
    sys.exit(main())
