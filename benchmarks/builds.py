"""Both builds beside each other: `python -m benchmarks.builds`, or a part of `make bench`.

The rows of `benchmarks.quick`, in fresh processes of this environment and of the compiled one that `make compiled` made, in
turns. A figure is processor time, the least of all processes. The table is written to the page of benchmarks.
"""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.contract import BenchmarkError
from benchmarks.machine import Machine, this_machine
from benchmarks.quick import LOCK_ENGINE, PLAIN, ROWS, Figure
from benchmarks.report import PAGE, between

BEGIN: Final = "<!-- builds: begin. Written by `make bench`; do not edit. -->"
END: Final = "<!-- builds: end -->"

ROOT: Final = Path(__file__).resolve().parents[1]
ROUNDS: Final = 5

#: The environments, by the name of the build that each must turn out to have.
_PYTHON: Final = {"pure Python": sys.executable, "compiled": str(ROOT / ".venv-compiled" / "bin" / "python")}
#: What each row should reach, pure and compiled.
_GOALS: Final = {
    PLAIN: "lock engine 7x, 30x",
    "`async with` + `record`": "lock engine 4x, 14x",
    "pair, two limits": "pair 2x, 4x",
    "pair, strict window": "pair 2x, 4x",
    "pair, in flight": "pair 2x, 4x",
    "denied": "pair 2x, 2x",
}


class Measured(msgspec.Struct, frozen=True):
    """What one process has measured, and its build."""

    build: str
    figures: list[Figure]


def measure() -> dict[str, dict[str, float]]:
    """Nanoseconds by build and row. Raises `BenchmarkError` if an environment is missing, or has another build."""
    least: dict[str, dict[str, float]] = {build: {} for build in _PYTHON}
    for number in range(ROUNDS):
        for build, python in _PYTHON.items():
            for title, ns in _in_fresh_process(build, python):
                least[build][title] = min(ns, least[build].get(title, ns))
            print(f"round {number + 1}  {build}", file=sys.stderr, flush=True)
    return least


def _in_fresh_process(build: str, python: str) -> Sequence[Figure]:
    try:
        ran = subprocess.run([python, "-m", "benchmarks.quick", "--json"], cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BenchmarkError(f"the {build} build cannot be measured: {error}; `make compiled` makes its environment") from error
    measured = msgspec.json.decode(ran.stdout, type=Measured)
    if measured.build != build:
        raise BenchmarkError(f"{python} has the build {measured.build!r}; expected {build!r}")
    return measured.figures


def table(least: Mapping[str, Mapping[str, float]], machine: Machine) -> str:
    """The table in Markdown. Ratios are those of one build: to its lock-based engine, which is never compiled, and its pair."""
    lines = [
        f"Measured {machine.measured_at} on {machine.processor}, {machine.cpus} CPUs, load {machine.load}; {machine.python}.",
        "",
        "| | pure, ns | compiled, ns | lock engine, pure | compiled | pair, pure | compiled | goal |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    pure, compiled = least.values()
    for row in ROWS:
        ns, fast = pure[row.title], compiled[row.title]
        cells = [
            f"{ns:,.0f}",
            f"{fast:,.0f}",
            f"{pure[LOCK_ENGINE] / ns:.2f}x",
            f"{compiled[LOCK_ENGINE] / fast:.2f}x",
            f"{ns / pure[PLAIN]:.2f}x",
            f"{fast / compiled[PLAIN]:.2f}x",
            _GOALS.get(row.title, ""),
        ]
        lines.append(f"| {' | '.join([row.title, *cells])} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Exit status 1 if a build could not be measured."""
    machine = this_machine()
    try:
        report = table(measure(), machine)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    print(report)
    PAGE.write_text(between(BEGIN, END, PAGE.read_text(), report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
