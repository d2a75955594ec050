"""How do the results read? A page of Markdown tables, with what they cannot prove."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from benchmarks.contract import PAIR_US, BenchmarkError, Contender, Family
from benchmarks.results import Results, Spread
from benchmarks.targets import TARGETS, Target

BEGIN: Final = "<!-- benchmarks: begin. Written by `make bench`; do not edit. -->"
END: Final = "<!-- benchmarks: end -->"

_ABSENT: Final = "not measured"

#: Of each family: its heading, and the figures that are shown, with their scale and their number of decimals.
_TABLES: Final = {
    Family.PAIRS: ("One permit and its outcome", (("us per pair", PAIR_US, 1.0, 2),)),
    Family.WAITING: (
        "How late is a permit that had to wait?",
        (("p50, ms", "p50_ms", 1.0, 2), ("p99, ms", "p99_ms", 1.0, 2), ("max, ms", "max_ms", 1.0, 2)),
    ),
    Family.MEMORY: (
        "Memory per scope",
        (("allocated by Python, kB", "traced_bytes", 1e-3, 2), ("resident, kB", "resident_bytes", 1e-3, 2)),
    ),
    Family.STARTUP: (
        "Start of a program",
        (
            ("empty, ms", "empty_ms", 1.0, 0),
            ("with the import, ms", "import_ms", 1.0, 0),
            ("difference, ms", "extra_ms", 1.0, 0),
        ),
    ),
}
_BASES: Final = (("textbook", "times textbook"), ("lock-engine", "times lock engine"))

CANNOT_PROVE: Final = """\
### What these figures cannot prove

- **That another machine agrees.** Absolute times belong to the machine named above, which other programs use as well.
  Ratios travel better, because both sides ran within seconds of each other; they still depend on the processor and on the
  Python version.
- **What the reference system would do here.** Its code is not measured. The lock-based engine is ours, written after its
  description, and without its faults; the published figures come from another machine.
- **What threads would do.** One thread and one loop are measured. The textbook and the lock-based engine are safe from any
  thread and pay for their locks here without ever waiting for one; the governor answers on its own loop without a lock.
- **A whole call.** A call over a network takes thousands of times as long as a permit. Nothing here says that a program
  becomes faster, only how little it pays.
- **The long run.** A repetition lasts seconds. The log of the last minute fills and never empties, nothing is refused, and
  no breaker opens; refusals and recoveries take other paths.
- **The worst case.** Microseconds per pair are an average over a loop, collections of garbage included. They hide which
  pair was slow.
- **Lateness under load.** The loop of the waiters has nothing else to do. A callback that blocks it makes every permit late by
  as much, and so does another program that wants the processor. The control row shows what the event loop is late by itself:
  on Linux, asyncio sleeps in whole milliseconds, rounded up.
- **Little memory.** Resident size grows by pages and arenas: for a table that is small as a whole it says next to nothing.
- **Small differences.** Two figures whose ranges overlap are equal as far as we know.
"""


def render(results: Results, contenders: Sequence[Contender]) -> str:
    """The whole report: machine, targets, a table for each family that was measured, and the limits of it all."""
    measured = {sample.contender for sample in results.samples}
    shown = [contender for contender in contenders if contender.name in measured]
    families = [family for family in Family if any(contender.family is family for contender in shown)]
    tables = [_family(results, family, [one for one in shown if one.family is family]) for family in families]
    return "\n".join([_machine(results), _targets(results), *tables, CANNOT_PROVE])


def publish(page: str, report: str) -> str:
    """The page with the report between its two markers. Raises `BenchmarkError` if they are not there."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BenchmarkError(f"the page has no place for the report: it needs the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{report}\n{END}{after}"


def _machine(results: Results) -> str:
    machine = results.machine
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    load = "" if machine.load is None else f", load average {machine.load:.2f} before the run"
    return f"""\
Measured {machine.measured_at} on {machine.processor}, {machine.cpus} CPUs{load}; {machine.system}; {machine.python};
{packages}.
Figures are medians over the rounds, with the smallest and the largest. Every repetition is a fresh process; the contenders of a
table take turns, and a ratio is the median of the ratios within each round. The garbage collector is on.
"""


def _targets(results: Results) -> str:
    rows = [[target.title, f"{target.most:g} {target.unit}", *_verdict(target, target.measured(results))] for target in TARGETS]
    return _table("Targets", ["target", "at most", "measured", "kept"], rows)


def _verdict(target: Target, spread: Spread | None) -> tuple[str, str]:
    if spread is None:
        return _ABSENT, ""
    return _cell(spread, 1.0, 2), "yes" if spread.median <= target.most else "**no**"


def _family(results: Results, family: Family, contenders: Sequence[Contender]) -> str:
    heading, figures = _TABLES[family]
    bases = _BASES if family is Family.PAIRS else ()
    columns: list[tuple[str, Callable[[Contender], str]]] = [("contender", lambda one: one.title)]
    for title, metric, scale, decimals in figures:
        columns.append((title, _figure(results, metric, scale, decimals)))
    if family is Family.PAIRS:
        columns.append(("pairs per second", lambda one: _per_second(results.spread(one.name, PAIR_US))))
    for base, title in bases:
        columns.append((title, _ratio(results, base)))
    columns += [("does", lambda one: one.does), ("does not", lambda one: one.does_not)]
    rows = [[cell(contender) for _, cell in columns] for contender in contenders]
    return _table(f"{heading} ({results.rounds(contenders[0].name)} rounds)", [title for title, _ in columns], rows)


def _figure(results: Results, metric: str, scale: float, decimals: int) -> Callable[[Contender], str]:
    return lambda contender: _cell(results.spread(contender.name, metric), scale, decimals)


def _ratio(results: Results, base: str) -> Callable[[Contender], str]:
    return lambda contender: _cell(results.ratio(contender.name, base, PAIR_US), 1.0, 2)


def _per_second(spread: Spread | None) -> str:
    return _ABSENT if spread is None else f"{1e6 / spread.median:,.0f}"


def _cell(spread: Spread | None, scale: float, decimals: int) -> str:
    if spread is None:
        return _ABSENT
    middle, least, most = (f"{value * scale:,.{decimals}f}" for value in (spread.median, spread.least, spread.most))
    return f"{middle} ({least} to {most})"


def _table(heading: str, titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return f"### {heading}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)
