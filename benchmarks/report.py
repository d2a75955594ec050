"""The report: a page of Markdown tables, with the limits of the measurement."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from textwrap import fill
from typing import Final, NamedTuple

from benchmarks.contention import idle, latency, loops, scarce, threads
from benchmarks.contention.exactness import OVER
from benchmarks.contract import PAIR_US, BenchmarkError, Contender, Family
from benchmarks.inbound import calls, clients, served
from benchmarks.outbound import adapters, pool
from benchmarks.processes import admissions, crew, holders
from benchmarks.processes import latency as round_trips
from benchmarks.processes import scarce as processes_scarce
from benchmarks.processes.throughput import PER_SECOND
from benchmarks.results import Results, Spread
from benchmarks.targets import TARGETS, Target
from benchmarks.watching import status

BEGIN: Final = "<!-- benchmarks: begin. Written by `make bench`; do not edit. -->"
END: Final = "<!-- benchmarks: end -->"

#: The page of the documentation.
PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "reference" / "benchmarks.md"

_ABSENT: Final = "not measured"
_PAGE_WIDTH: Final = 128


class _Figure(NamedTuple):
    """One column: a metric, times `scale`, and how finely it is shown."""

    title: str
    metric: str
    scale: float = 1.0
    decimals: int = 2


class _Ratio(NamedTuple):
    """One column: how many times the metric of `base`."""

    title: str
    base: str
    metric: str


class _Table(NamedTuple):
    """What is shown of a family. Where it is `judged`, each row says whether its limit was kept."""

    family: Family
    heading: str
    figures: Sequence[_Figure]
    ratios: Sequence[_Ratio] = ()
    judged: bool = False


def _threads(heading: str, metric: Callable[[int], str]) -> _Table:
    return _Table(
        Family.THREADS,
        f"{heading}, in thousands of pairs per second",
        [_Figure("1 thread" if count == 1 else f"{count} threads", metric(count), 1e-3, 0) for count in threads.COUNTS],
        [
            _Ratio(f"{threads.CROWDED} threads, times textbook", "threads-textbook", metric(threads.CROWDED)),
            _Ratio(f"{threads.CROWDED} threads, times lock engine", "threads-lock-engine", metric(threads.CROWDED)),
        ],
        judged=True,
    )


_TABLES: Final = (
    _Table(
        Family.PAIRS,
        "One permit and its outcome",
        [_Figure("us per pair", PAIR_US)],
        [_Ratio("times textbook", "textbook", PAIR_US), _Ratio("times lock engine", "lock-engine", PAIR_US)],
    ),
    _threads("Threads in one scope", threads.together),
    _threads("Threads in a scope each", threads.apart),
    _Table(
        Family.LOOPS,
        "Tasks in one scope, in thousands of pairs per second",
        [
            _Figure("100 tasks", loops.ONE_LOOP, 1e-3, 0),
            _Figure("2 loops, 50 tasks each", loops.TWO_LOOPS, 1e-3, 0),
            _Figure("100 tasks, beside 4 threads", loops.MIXED_TASKS, 1e-3, 0),
            _Figure("4 threads, beside these", loops.MIXED_THREADS, 1e-3, 0),
        ],
        judged=True,
    ),
    _Table(
        Family.LATENCY,
        "How long does one pair take, of 8 threads in one scope?",
        [
            _Figure(f"{name}: {title}", f"{load}_{metric}", scale, decimals)
            for load, name in ((latency.HALF, "half load"), (latency.COMMON, "same load"))
            for title, metric, scale, decimals in (
                ("thousands per second", latency.LOAD, 1e-3, 0),
                ("p50, us", latency.P50, 1.0, 1),
                ("p99, us", latency.P99, 1.0, 1),
                ("p99.9, us", latency.P999, 1.0, 1),
            )
        ],
    ),
    _Table(
        Family.WAITING,
        "How late is a permit that had to wait?",
        [_Figure("p50, ms", "p50_ms"), _Figure("p99, ms", "p99_ms"), _Figure("max, ms", "max_ms")],
    ),
    _Table(
        Family.SCARCE,
        "8 threads that all want more than the 500 per second there are",
        [
            _Figure("least, in fair shares", scarce.LEAST_SHARE),
            _Figure("all, of what is allowed", scarce.OF_ALLOWED, 1.0, 4),
            _Figure("late, p50, ms", scarce.LATE_P50),
            _Figure("late, p99, ms", scarce.LATE_P99),
        ],
        judged=True,
    ),
    _Table(
        Family.PROCESSES,
        f"{crew.PROCESSES} processes, {crew.THREADS} threads each, in one scope",
        [_Figure("thousands of pairs per second", PER_SECOND, 1e-3, 1)],
        [
            _Ratio("times limits on Redis", "processes-limits-redis", PER_SECOND),
            _Ratio("times limits on memcached", "processes-limits-memcached", PER_SECOND),
        ],
    ),
    _Table(
        Family.ADMISSIONS,
        f"{crew.PROCESSES} workers, {admissions.REQUESTS} inbound requests at a time in each",
        [
            _Figure("thousands of admissions per second", admissions.PER_SECOND, 1e-3, 1),
            _Figure("processor time of a worker, us", admissions.WORKER_US, 1.0, 1),
        ],
        [
            _Ratio("times limits on Redis", "admissions-limits-redis", admissions.PER_SECOND),
            _Ratio("times each by itself", "admissions-alone", admissions.PER_SECOND),
        ],
    ),
    _Table(
        Family.MESSAGES,
        f"{crew.PROCESSES} processes, {processes_scarce.THREADS} threads each, a message for each permit",
        [
            _Figure("thousands of permits per second", PER_SECOND, 1e-3, 1),
            _Figure("the process that got least, in fair shares", processes_scarce.LEAST_SHARE, 1.0, 3),
            _Figure("the process that got most", processes_scarce.LARGEST_SHARE, 1.0, 3),
        ],
    ),
    _Table(
        Family.ROUND_TRIPS,
        "How long does a permit take that the daemon is asked for?",
        [
            _Figure("first of a scope: p50, us", round_trips.COLD_P50, 1.0, 0),
            _Figure("first of a scope: p99, us", round_trips.COLD_P99, 1.0, 0),
            _Figure("known scope: p50, us", round_trips.KNOWN_P50, 1.0, 0),
            _Figure("known scope: p99, us", round_trips.KNOWN_P99, 1.0, 0),
        ],
    ),
    _Table(
        Family.HOLDERS,
        "A daemon with many idle processes",
        [
            _Figure("resident, MiB", holders.RESIDENT_BYTES, 1 / 1_048_576, 1),
            _Figure("wake-ups per second", holders.SLEEPS, 1.0, 1),
            _Figure("the same without processes", holders.ALONE, 1.0, 1),
        ],
    ),
    _Table(
        Family.MEMORY,
        "Memory per scope",
        [_Figure("allocated by Python, kB", "traced_bytes", 1e-3), _Figure("resident, kB", "resident_bytes", 1e-3)],
    ),
    _Table(
        Family.IDLE,
        "A program at rest",
        [_Figure("processor time, ms per second", idle.CPU_MS), _Figure("voluntary context switches per second", idle.SLEEPS)],
    ),
    _Table(
        Family.WATCHING,
        "Being watched",
        [
            _Figure("status, p50, ms", status.STATUS_P50, 1.0, 1),
            _Figure("status, p99, ms", status.STATUS_P99, 1.0, 1),
            _Figure("decision, p50, us", status.DECISION_P50, 1.0, 0),
            _Figure("decision, p99, us", status.DECISION_P99, 1.0, 0),
        ],
        [_Ratio("decision, p99, times unwatched", "unwatched", status.DECISION_P99)],
    ),
    _Table(
        Family.CALLS,
        "Limits on the clients of an application, around one call",
        [_Figure("added, us", calls.ADDED_US), _Figure("the whole call, us", calls.CALL_US)],
    ),
    _Table(
        Family.SERVED,
        f"The same under uvicorn, asked by {served.CONNECTIONS} connections",
        [
            _Figure("answers, thousands per second", served.PER_SECOND, 1e-3, 2),
            _Figure("share of those without it", served.SHARE, 1.0, 3),
        ],
    ),
    _Table(
        Family.ADAPTERS,
        "One call of an HTTP library, governed, to a server on loopback",
        [_Figure("added to the bare library, us", adapters.ADDED_US), _Figure("the whole call, us", adapters.CALL_US)],
    ),
    _Table(
        Family.POOL,
        "Processor time of one async GET, by the number under way at once",
        [_Figure(f"{count} at once, us", pool.cpu_us(count), 1.0, 0) for count in pool.COUNTS],
        [_Ratio(f"{pool.COUNTS[-1]} at once, times httpx2", "pool-bare", pool.cpu_us(pool.COUNTS[-1]))],
    ),
    _Table(
        Family.CLIENTS,
        "Very many clients",
        [
            _Figure("allocated by Python for each, bytes", clients.TRACED, 1.0, 0),
            _Figure("resident for each, bytes", clients.RESIDENT, 1.0, 0),
            _Figure("resident after they were quiet, bytes", clients.AFTER, 1.0, 0),
            _Figure("longest step of cleaning up, ms", clients.MAX_STEP_MS),
        ],
    ),
    _Table(
        Family.STARTUP,
        "Start of a program",
        [
            _Figure("empty, ms", "empty_ms", 1.0, 0),
            _Figure("with the import, ms", "import_ms", 1.0, 0),
            _Figure("difference, ms", "extra_ms", 1.0, 0),
        ],
    ),
    _Table(
        Family.RECOVERY,
        "Start of a governor with state that survives",
        [_Figure("until the first permit, ms", "recovery_s", 1000.0, 0)],
    ),
)

CANNOT_PROVE: Final = """\
### What these figures cannot prove

- **Other machines.** Absolute times belong to the machine named above, which other programs use as well. Ratios transfer
  better, because both sides ran within seconds of each other; they still depend on the processor and the Python version.
- **The reference system.** Its code is not measured. The lock-based engine was written for this comparison, from the
  description of that system and without its faults; the published figures come from another machine.
- **Other interpreters.** Threads take turns at one interpreter lock, which has more influence than any limiter. More
  processors change little about that; another switch interval changes much, and an interpreter without that lock everything.
  In the table of single pairs there is one thread, and no thread waits for a lock.
- **That the libraries are slow.** Each is used as its documentation says for threads in one process, with a limit that is never
  reached. None does the whole job of the governor, and some do what it does not, above all across several machines.
- **A whole call.** A call over a network takes thousands of times as long as a permit. The figures do not say that a program
  becomes faster, only what a permit costs.
- **The long run.** A repetition lasts seconds. The log of the last minute fills and never empties; where speed is measured
  nothing is denied, and no breaker opens. Denials and recoveries take other paths.
- **That a limit always holds.** A contender that over-admits does so in some window of a short run of 8 threads or 100 tasks.
  One that does not may do so elsewhere; for the governor, there are tests.
- **The worst case.** Microseconds per pair are an average over a loop, garbage collections included. They hide which pair was
  slow.
- **Lateness under load.** The event loop of the waiting calls has nothing else to do. A callback that blocks it makes every
  permit late by as much, and so does another program that uses the processor. The control row shows the lateness of the event
  loop itself: on Linux, asyncio sleeps in whole milliseconds, rounded up.
- **Small amounts of memory.** Resident size grows by pages and arenas; for a small table it says almost nothing.
- **Small differences.** Two figures whose ranges overlap are equal as far as known.
"""


def render(results: Results, contenders: Sequence[Contender]) -> str:
    """The whole report: machine, targets, a table for each family that was measured, and the limits of it all."""
    measured = {sample.contender for sample in results.samples}
    shown = [contender for contender in contenders if contender.name in measured]
    tables = [
        _family(results, table, members)
        for table in _TABLES
        if (members := [contender for contender in shown if contender.family is table.family])
    ]
    return "\n".join([_machine(results), _targets(results), *tables, CANNOT_PROVE])


def publish(page: str, report: str) -> str:
    """The page with the report between its two markers. Raises `BenchmarkError` if they are not there."""
    return between(BEGIN, END, page, report)


def between(begin: str, end: str, page: str, report: str) -> str:
    """The page with the report between these markers. Raises `BenchmarkError` if they are not there."""
    before, found, rest = page.partition(begin)
    _, also_found, after = rest.partition(end)
    if not found or not also_found:
        raise BenchmarkError(f"the page has no place for the report: it needs the lines {begin!r} and {end!r}")
    return f"{before}{begin}\n\n{report}\n{end}{after}"


def _machine(results: Results) -> str:
    machine = results.machine
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    load = "" if machine.load is None else f", load average {machine.load:.2f} before the run"
    measured = (
        f"Measured {machine.measured_at} on {machine.processor}, {machine.cpus} CPUs{load}; "
        f"{machine.system}; {machine.python}; {packages}."
    )
    return f"""\
{fill(measured, _PAGE_WIDTH, break_on_hyphens=False)}
Figures are medians over the rounds, with the smallest and the largest. Every repetition is a fresh process; the contenders of a
table take turns, and a ratio is the median of the ratios within each round. The garbage collector is on.
"""


def _targets(results: Results) -> str:
    rows = [[target.title, target.goal, *_verdict(target, target.measured(results))] for target in TARGETS]
    return _table("Targets", ["target", "goal", "measured", "kept"], rows)


def _verdict(target: Target, spread: Spread | None) -> tuple[str, str]:
    if spread is None:
        return _ABSENT, ""
    return _cell(spread, 1.0, target.decimals), "yes" if target.kept_by(spread.median) else "**no**"


def _family(results: Results, table: _Table, contenders: Sequence[Contender]) -> str:
    columns: list[tuple[str, Callable[[Contender], str]]] = [("contender", lambda one: one.title)]
    columns += [(figure.title, _figure(results, figure)) for figure in table.figures]
    if table.family is Family.PAIRS:
        columns.append(("pairs per second", lambda one: _per_second(results.spread(one.name, PAIR_US))))
    columns += [(ratio.title, _ratio(results, ratio)) for ratio in table.ratios]
    if table.judged:
        columns.append(("over-admits", lambda one: _judgement(results.spread(one.name, OVER))))
    columns += [("does", lambda one: one.does), ("does not", lambda one: one.does_not)]
    rows = [[cell(contender) for _, cell in columns] for contender in contenders]
    return _table(f"{table.heading} ({results.rounds(contenders[0].name)} rounds)", [title for title, _ in columns], rows)


def _figure(results: Results, figure: _Figure) -> Callable[[Contender], str]:
    return lambda contender: _cell(results.spread(contender.name, figure.metric), figure.scale, figure.decimals)


def _ratio(results: Results, ratio: _Ratio) -> Callable[[Contender], str]:
    return lambda contender: _cell(results.ratio(contender.name, ratio.base, ratio.metric), 1.0, 2)


def _judgement(spread: Spread | None) -> str:
    """One window too full in one round is enough."""
    if spread is None:
        return _ABSENT
    return f"**by {spread.most:,g}**" if spread.most else "no"


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
