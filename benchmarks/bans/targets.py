"""The targets of the ban benchmark, and whether they were reached in every scenario and seed."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from benchmarks.bans.contract import Said, Scenario
from benchmarks.bans.measures import Measures
from benchmarks.bans.results import Results
from benchmarks.bans.scenarios import SCENARIOS

KNOWN: Final = "governor"
UNKNOWN: Final = "governor-unknown"
#: Seconds that a hint is believed at most, and what a client may need beyond that to find a place again.
_BOUND: Final = 3600 * 1.05


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The worst figure of a target, as text; whether it is good enough; and the scenarios in which it is not."""

    target: str
    goal: str
    worst: str
    kept: bool | None
    missed: Sequence[str] = ()


#: A figure of a run beside the oracle's.
Figure = Callable[[Measures, Measures], float]


class _Target(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of a contender that is at most `most`, or at least `least`, in each of some scenarios."""

    title: str
    contender: str
    scenarios: Sequence[Scenario]
    figure: Figure
    unit: str = ""
    most: float | None = None
    least: float | None = None
    below: float | None = None

    def judge(self, results: Results) -> Verdict:
        found: dict[str, float] = {}
        low = self.least is not None
        for run, oracle in results.runs(self.contender, self.scenarios):
            value = self.figure(run, oracle)
            known = found.get(run.scenario, value)
            found[run.scenario] = min(value, known) if low else max(value, known)
        if not found:
            return Verdict(target=self.title, goal=self._goal(), worst="not measured", kept=None)
        name = (min if low else max)(found, key=lambda one: found[one])
        missed = [f"{one} ({self._text(value)})" for one, value in found.items() if not self._good(value)]
        worst = f"{self._text(found[name])}, in {name}" if missed else self._text(found[name])
        return Verdict(target=self.title, goal=self._goal(), worst=worst, kept=not missed, missed=missed)

    def _good(self, value: float) -> bool:
        if self.below is not None:
            return value < self.below
        return value >= self.least if self.least is not None else self.most is not None and value <= self.most

    def _goal(self) -> str:
        if self.below is not None:
            return f"below {self._text(self.below)}"
        return f"at least {self._text(self.least)}" if self.least is not None else f"at most {self._text(self.most or 0)}"

    def _text(self, value: float) -> str:
        return f"{value * 100:.2f} %" if self.unit == "%" else f"{value:,.4g}{self.unit and ' ' + self.unit}"


def judge(results: Results) -> list[Verdict]:
    """All targets."""
    return [*(target.judge(results) for target in _TARGETS), *_wrong(results), *_reading(results)]


def _share(of: Callable[[Measures], int]) -> Figure:
    return lambda run, oracle: of(run) / max(1, of(oracle))


def _denied(run: Measures, oracle: Measures) -> float:
    return run.denied / max(1, run.requests)


def _in_time(run: Measures) -> int:
    return run.in_time


def _p95(run: Measures, oracle: Measures) -> float:
    return run.delays[1] / max(oracle.delays[1], 1.0)


def _of(*said: Said) -> list[Scenario]:
    return [scenario for scenario in SCENARIOS.values() if scenario.said in said]


_ALL: Final = list(SCENARIOS.values())
_LONG: Final = [scenario for name, scenario in SCENARIOS.items() if name.startswith("long-calls")]

_TARGETS: Final = (
    _Target(title="limits known: denied requests", contender=KNOWN, scenarios=_ALL, figure=lambda run, _: run.denied, most=0),
    _Target(title="limits known: bans", contender=KNOWN, scenarios=_ALL, figure=lambda run, _: run.bans, most=0),
    _Target(
        title="limits known: answered in time, to the oracle",
        contender=KNOWN,
        scenarios=_ALL,
        figure=_share(_in_time),
        least=0.97,
    ),
    _Target(
        title="limits known: delay p95, to the oracle", contender=KNOWN, scenarios=_ALL, figure=_p95, most=1.15, unit="times"
    ),
    _Target(
        title="limits known: served of long calls, to the oracle",
        contender=KNOWN,
        scenarios=_LONG,
        figure=_share(lambda run: run.served),
        least=0.95,
    ),
    _Target(
        title="unknown, hints given: bans", contender=UNKNOWN, scenarios=_of(Said.HINTS), figure=lambda run, _: run.bans, most=0
    ),
    _Target(
        title="unknown, hints given: denied, of all requests",
        contender=UNKNOWN,
        scenarios=_of(Said.HINTS),
        figure=_denied,
        below=0.005,
        unit="%",
    ),
    _Target(
        title="unknown, hints given: answered in time, to the oracle",
        contender=UNKNOWN,
        scenarios=_of(Said.HINTS),
        figure=_share(_in_time),
        least=0.9,
    ),
    _Target(
        title="unknown, no hints: bans", contender=UNKNOWN, scenarios=_of(Said.NOTHING), figure=lambda run, _: run.bans, most=0
    ),
    _Target(
        title="unknown, no hints: denied, of all requests",
        contender=UNKNOWN,
        scenarios=_of(Said.NOTHING),
        figure=_denied,
        below=0.02,
        unit="%",
    ),
    _Target(
        title="unknown, no hints: answered in time, to the oracle",
        contender=UNKNOWN,
        scenarios=_of(Said.NOTHING),
        figure=_share(_in_time),
        least=0.75,
    ),
    _Target(
        title="unknown, wrong hints: the longest pause",
        contender=UNKNOWN,
        scenarios=_of(Said.WRONG),
        figure=lambda run, _: run.longest_pause,
        most=_BOUND,
        unit="s",
    ),
)


def _wrong(results: Results) -> Iterable[Verdict]:
    """Wrong hints beside none, in the same scenario: no more bans, no more denials, and as many answers.

    A wait that is too long costs answers, whatever the client does; the bound of a pause judges that.
    """
    goal = "bans and denials at most, answers at least 0.95 times those without hints"
    missed, seen = [], False
    for scenario in _of(Said.WRONG):
        base = scenario.name.partition("/")[0]
        wrong, none = results.first(UNKNOWN, scenario.name), results.first(UNKNOWN, f"{base}/silent")
        if wrong is None or none is None:
            continue
        seen = True
        fewer = wrong.in_time < 0.95 * none.in_time and not scenario.name.endswith("far-future")
        if wrong.bans > none.bans or wrong.denied > none.denied or fewer:
            figures = f"bans {wrong.bans}, denied {wrong.denied}, answered {wrong.in_time}"
            missed.append(f"{scenario.name} ({figures}; without hints {none.bans}, {none.denied}, {none.in_time})")
    title = "unknown, wrong hints: never worse than none"
    worst = f"{len(missed)} scenarios are worse" if missed else "none is worse"
    yield Verdict(
        target=title, goal=goal, worst=worst if seen else "not measured", kept=not missed if seen else None, missed=missed
    )


def _reading(results: Results) -> Iterable[Verdict]:
    for title, key, most in (
        ("reading the hints of an answer", "hints", 15.0),
        ("the same where no header says anything", "none", 1.0),
    ):
        value = results.reading.get(key)
        worst = "not measured" if value is None else f"{value:.2f} us"
        yield Verdict(target=title, goal=f"below {most:g} us", worst=worst, kept=None if value is None else value < most)
