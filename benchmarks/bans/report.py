"""The report: targets, and a table for each scenario, as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import Final

from benchmarks.bans.contract import Contender, Said, Scenario
from benchmarks.bans.measures import Measures
from benchmarks.bans.oracle import NAME as ORACLE
from benchmarks.bans.results import Results
from benchmarks.bans.targets import Verdict

BEGIN: Final = "<!-- bans: begin. Written by `make bench-bans`; do not edit. -->"
END: Final = "<!-- bans: end -->"

_SAID: Final[Mapping[Said, str]] = {
    Said.HINTS: "Hints are given.",
    Said.NOTHING: "No hints are given.",
    Said.WRONG: "Hints are wrong.",
}


def render(
    results: Results, verdicts: Sequence[Verdict], scenarios: Iterable[Scenario], contenders: Sequence[Contender], made: str
) -> str:
    """The whole report; `made` says when and with what."""
    parts = [made, targets(verdicts), _overview(results, scenarios, contenders)]
    parts += [_scenario(results, scenario, contenders) for scenario in scenarios]
    if results.skipped:
        parts.append("\n".join(["### Not run", "", *(f"- `{name}`: {why}" for name, why in results.skipped.items())]))
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def targets(verdicts: Sequence[Verdict]) -> str:
    """The targets as one table, and below it the scenarios in which one was missed."""
    rows = [[one.target, one.goal, one.worst, "" if one.kept is None else "yes" if one.kept else "**no**"] for one in verdicts]
    lines = [_table(["target, in every scenario and seed", "goal", "worst", "kept"], rows)]
    missed = [one for one in verdicts if one.missed]
    if missed:
        lines += ["Missed in these scenarios:", "", *(f"- {one.target}: {', '.join(one.missed)}" for one in missed)]
    return "\n".join(["### Targets", "", *lines])


def publish(page: str, report: str) -> str:
    """The page with the report between its markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{report}\n{END}{after}"


def table(results: Results, scenario: Scenario, contenders: Sequence[Contender]) -> str:
    """The contenders of one scenario; means over its seeds."""
    named = [("oracle", ORACLE), *((contender.title, contender.name) for contender in contenders)]
    rows = []
    for title, name in named:
        runs = list(results.runs(name, [scenario]))
        if runs:
            rows.append([title, *_row(runs)])
    return _table(_TITLES, rows)


_TITLES: Final = (
    "contender",
    "answered in time",
    "of the oracle",
    "in twice the time",
    "requests",
    "denied",
    "401",
    "wasted",
    "bans",
    "banned, s",
    "delay p50, s",
    "p95, s",
    "p99, s",
    "tokens, of the oracle",
)


def _row(runs: Sequence[tuple[Measures, Measures]]) -> list[str]:
    def whole(field: str) -> str:
        return f"{mean(getattr(run, field) for run, _ in runs):,.0f}"

    tokens = [run.tokens / oracle.tokens for run, oracle in runs if oracle.tokens]
    return [
        whole("in_time"),
        f"{mean(run.in_time / max(1, oracle.in_time) for run, oracle in runs):.3f}",
        whole("in_twice"),
        *(whole(field) for field in ("requests", "denied", "unauthorized", "wasted", "bans", "banned")),
        *(f"{mean(run.delays[place] for run, _ in runs):,.1f}" for place in range(3)),
        f"{mean(tokens):.3f}" if tokens else "",
    ]


def _scenario(results: Results, scenario: Scenario, contenders: Sequence[Contender]) -> str:
    if not any(one.scenario == scenario.name for one in results.measures):
        return ""
    seeds = {one.seed for one in results.measures if one.scenario == scenario.name}
    calls = mean(one.calls for one in results.measures if one.scenario == scenario.name)
    told = f"{calls:,.0f} calls in {scenario.span / 60e6:g} minutes. {_SAID[scenario.said]}"
    told += f" Means of {len(seeds)} seeds." if len(seeds) > 1 else ""
    return f"### `{scenario.name}`\n\nThe provider allows {scenario.title}. {told}\n\n{table(results, scenario, contenders)}"


def _overview(results: Results, scenarios: Iterable[Scenario], contenders: Sequence[Contender]) -> str:
    rows = []
    for scenario in scenarios:
        cells = [_cell(list(results.runs(contender.name, [scenario]))) for contender in contenders]
        if any(cells):
            rows.append([f"`{scenario.name}`", *cells])
    told = "Calls answered in time, as a share of those of the oracle, and the share of requests that were denied."
    titles = ["scenario", *(contender.title for contender in contenders)]
    return "\n".join(["### Overview", "", told, "", _table(titles, rows)])


def _cell(runs: Sequence[tuple[Measures, Measures]]) -> str:
    if not runs:
        return ""
    share = mean(run.in_time / max(1, oracle.in_time) for run, oracle in runs)
    denied = mean(run.denied / max(1, run.requests) for run, _ in runs) * 100
    banned = " **banned**" if any(run.bans for run, _ in runs) else ""
    return f"{share:.2f}{f', {denied:.2g} %' if denied else ''}{banned}"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in [titles, ["---"] * len(titles), *rows])
