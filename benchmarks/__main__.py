"""The command line: `python -m benchmarks` measures everything and writes the page; options measure parts."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from shutil import which
from typing import Final

from benchmarks.catalogue import CONTENDERS
from benchmarks.chart import draw
from benchmarks.contract import BenchmarkError, Contender, Sample
from benchmarks.machine import this_machine
from benchmarks.report import PAGE, publish, render
from benchmarks.results import Results, json_lines
from benchmarks.runner import measure_in_fresh_process, run

_HERE: Final = Path(__file__).resolve().parent
_LATEST: Final = _HERE / "results" / "latest.jsonl"
_PARTIAL: Final = _HERE / "results" / "partial.jsonl"
_CHART: Final = PAGE.with_name("contention.svg")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 if something could not be measured; a missed target is a result, not an error."""
    options = _parser().parse_args(arguments)
    if options.list:
        for contender in CONTENDERS:
            print(f"{contender.name:28} {contender.title}")
        return 0
    named = [contender for contender in CONTENDERS if not options.only or contender.name in options.only]
    chosen = [contender for contender in named if contender.needs is None or which(contender.needs)]
    for contender in named:
        if contender not in chosen:
            print(f"{contender.name} is left out: {contender.needs} is not installed", file=sys.stderr)
    try:
        _run(chosen, quick=options.quick, whole=not options.quick and not options.only)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _run(chosen: Sequence[Contender], *, quick: bool, whole: bool) -> None:
    machine = this_machine()
    samples = [_told(sample) for sample in run(chosen, quick=quick, measure=measure_in_fresh_process)]
    results = Results(machine, tuple(samples))
    report = render(results, chosen)
    print(report)
    if whole:
        _LATEST.write_bytes(json_lines(results))
        PAGE.write_text(publish(PAGE.read_text(), report))
        _CHART.write_text(draw(results, chosen))
    else:
        with _PARTIAL.open("ab") as file:
            file.write(json_lines(results))


def _told(sample: Sample) -> Sample:
    figures = ", ".join(f"{name} {value:,.2f}" for name, value in sample.values.items())
    print(f"round {sample.round + 1}  {sample.contender:28} {figures}", file=sys.stderr, flush=True)
    return sample


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure the governor beside what it is compared with."
    )
    parser.add_argument(
        "--quick", action="store_true", help="small workloads and fewer rounds; prints, and leaves the page alone"
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        choices=[contender.name for contender in CONTENDERS],
        help="this contender and no other (may be repeated); prints, and leaves the page alone",
    )
    parser.add_argument("--list", action="store_true", help="name the contenders and stop")
    return parser


if __name__ == "__main__":
    sys.exit(main())
