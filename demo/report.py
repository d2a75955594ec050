"""The report of the demo: both runs side by side, and a verdict."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from math import ceil
from typing import Final

import msgspec

from demo.contender import DONE, GovernorFigures
from demo.rules import Ban, ProviderLog, Rules
from demo.workload import Driven
from governor._units import Duration, from_seconds, to_seconds
from governor.policies.windows.parameters import StrictWindow

_LABEL: Final = 34
_COLUMN: Final = 28
#: Of several bans or reasons, the number that is listed.
_TOLD: Final = 3


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run, as its client and its provider have seen it."""

    title: str
    driven: Driven
    log: ProviderLog


#: What stands in one column of a row: one line or several.
_Cell = Callable[[Run], list[str]]


class Possible(msgspec.Struct, frozen=True):
    """The 2xx answers that could have been had in one run."""

    reads: int
    writes: int

    def share(self, log: ProviderLog) -> float:
        """How much of it was achieved, from 0 to 1."""
        return log.count(200, 201) / (self.reads + self.writes)


def possible(rules: Rules, duration: float, writes: int) -> Possible:
    """What the documented limits let through in `duration` seconds outside the spell of 503s; no more than `writes` writes.

    The spell cuts the run in two, and the limits let through as many full windows as begin in each part.
    """
    end = from_seconds(duration, field="duration")
    parts = (rules.outage_from, Duration(end - rules.outage_until))
    return Possible(_most(rules.reads, parts), min(writes, _most(rules.writes, parts)))


def spotless(run: Run) -> bool:
    """Whether work was done without a denial or a ban by the provider, according to its log."""
    return run.log.count(403, 429) == 0 and not run.log.bans and run.log.count(200, 201) > 0


def table(runs: Sequence[Run], best: Possible, *, counted: bool = True) -> list[str]:
    """The runs side by side, three of them in lines of at most 118 columns. `counted`: the clients have counted as well."""
    lines = [_line("", [run.title for run in runs]), "-" * (_LABEL + _COLUMN * len(runs))]
    for label, cell in [*_AT_THE_PROVIDER, *(_AT_THE_CLIENT if counted else ())]:
        columns = [cell(run) for run in runs]
        labels = [label] + [""] * (max(map(len, columns)) - 1)
        lines += [_line(text, cells) for text, *cells in zip_longest(labels, *columns, fillvalue="")]
    return [*lines, _line("share of the possible [2]", [f"{best.share(run.log):.1%}" for run in runs])]


def verdict(ungoverned: Run, governed: Run, unknown: Run) -> list[str]:
    """What it comes to, in words."""
    return [
        f"Without a governor: {_fate(ungoverned.log)}.",
        f"With a governor: {_fate(governed.log)}. {_judgement(governed)}",
        f"With a governor that knows no limits and reads what answers say: {_fate(unknown.log)}.",
    ]


def verdict_on_workers(apart: Run, shared: Run) -> list[str]:
    """The same for processes."""
    return [
        f"A governor in each process: {_fate(apart.log)}. Each keeps the limit, and together they do not.",
        f"The governor of the machine: {_fate(shared.log)}. {_judgement(shared)}",
    ]


def _judgement(governed: Run) -> str:
    if spotless(governed):
        return "The limits were kept."
    return "THE LIMITS WERE NOT KEPT." if governed.log.count(403, 429) else "BUT NOTHING WAS DONE."


def _fate(log: ProviderLog) -> str:
    return f"denied {_times(log.count(429))}, banned {_times(len(log.bans))}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


def _done(endings: Counter[str]) -> list[str]:
    return [f"{endings[DONE]:,} of {endings.total():,}"]


def _why(endings: Mapping[str, int]) -> list[str]:
    """The commonest reasons, one to a line."""
    reasons = Counter({reason: count for reason, count in endings.items() if reason != DONE}).most_common()
    told = [f"{count:,} {reason}" for reason, count in reasons[:_TOLD]]
    rest = sum(count for _, count in reasons[_TOLD:])
    return [*told, f"{rest:,} for other reasons"] if rest else told or ["none"]


def _answers(*statuses: int) -> _Cell:
    return lambda run: [f"{run.log.count(*statuses):,}"]


def _bans(run: Run) -> list[str]:
    told = [_ban(ban, run.log.span) for ban in run.log.bans[:_TOLD]]
    rest = len(run.log.bans) - _TOLD
    return [*told, f"and {rest} times more"] if rest > 0 else told or ["never"]


def _ban(ban: Ban, span: Duration) -> str:
    """When, and for how much of the run: a ban may outlast it."""
    end = "the end" if ban.until >= span else f"{to_seconds(ban.until):.1f} s"
    length = to_seconds(min(ban.until, span) - ban.since)
    return f"{to_seconds(ban.since):.1f} s to {end}: {length:.1f} s"


def _governors(cell: Callable[[GovernorFigures], list[str]]) -> _Cell:
    """What only a governor knows."""
    return lambda run: ["-"] if run.driven.figures.governor is None else cell(run.driven.figures.governor)


def footnotes(best: Possible) -> list[str]:
    """What the marks in the tables mean."""
    return [
        "[1] All in the provider's own log, which is the judge; what stands below is counted by the client.",
        f"[2] Of {best.reads:,} reads and {best.writes:,} writes: what the limits let through, window by window, before and",
        "    after the 503s; and no more writes than the workload has.",
    ]


def _line(label: str, cells: Sequence[str]) -> str:
    return (f"{label:{_LABEL}}" + "".join(f"{cell:{_COLUMN}}" for cell in cells)).rstrip()


def _most(limit: StrictWindow, parts: Iterable[Duration]) -> int:
    return sum(limit.amount * ceil(part / limit.per) for part in parts)


_AT_THE_PROVIDER: Final[list[tuple[str, _Cell]]] = [
    ("workload: done, of all calls", lambda run: _done(run.driven.workload)),
    ("  given up, and why", lambda run: _why(run.driven.workload)),
    ("endless loop: done, of all calls", lambda run: _done(run.driven.loop)),
    ("requests at the provider [1]", _answers()),
    ("  answered 2xx", _answers(200, 201)),
    ("  met a 503", _answers(503)),
    ("  denied, 429", _answers(429)),
    ("  denied, 403: banned", _answers(403)),
    ("banned", _bans),
]
_AT_THE_CLIENT: Final[list[tuple[str, _Cell]]] = [
    ("requests without an answer", lambda run: [f"{run.driven.figures.errors:,}"]),
    ("retries", lambda run: [f"{run.driven.figures.retries:,}"]),
    ("breaker openings", _governors(lambda one: [str(one.openings)])),
    ("degraded spells", _governors(lambda one: [str(one.degraded_spells)])),
    ("denied by the governor", _governors(lambda one: _why(one.denied))),
]
